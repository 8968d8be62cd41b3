"""Another private key beside the one in use, until Jira accepts it."""
