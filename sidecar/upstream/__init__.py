"""Connections to Jira: one request and its response at a time."""
