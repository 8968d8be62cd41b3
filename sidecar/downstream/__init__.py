"""Clients' connections: requests in, answers out."""
