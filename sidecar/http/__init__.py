"""Rules of HTTP that need no connection: fields, request targets, dates."""
