"""RFC 5849 signatures: the parameters, the base string, and the RSA operation."""
