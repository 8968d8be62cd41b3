"""The running service: start, reload, drain, and what it reports."""
