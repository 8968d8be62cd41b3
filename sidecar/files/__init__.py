"""Every secret on disk: private keys, the token, and how they are read and written safely."""
