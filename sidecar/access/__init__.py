"""Whether a caller may send this request."""
