"""Text messages: to the telephone of a user."""
