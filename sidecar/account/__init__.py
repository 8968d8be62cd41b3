"""Who we are to Jira, and how we stay it: clock, signing URL, token, renewal, healing."""
