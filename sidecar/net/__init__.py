"""Listening sockets, TLS contexts, and waiting for slow peers."""
