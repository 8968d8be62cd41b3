"""Waiting for Jira's rate limits: one line of requests for each user."""
