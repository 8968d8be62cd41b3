"""What is recorded, logged and counted."""
