"""What Jira's answers mean: OAuth problems, refusals, and the links in its JSON."""
