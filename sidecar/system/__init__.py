"""The system service: its unit, its files, and commands that act as it does."""
