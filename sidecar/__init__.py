"""jira-oauth-sidecar: a local HTTP proxy that signs requests for Jira."""

__version__ = "0.1.0"
