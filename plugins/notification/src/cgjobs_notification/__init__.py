"""The notification jobs of ChatGenius."""
