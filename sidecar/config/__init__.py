"""The file, the environment and the flags, read into one Config."""
