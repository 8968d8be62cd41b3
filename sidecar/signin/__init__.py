"""Getting a user's approval: the OAuth dance with a browser or a typed code."""
