"""The maintenance jobs of ChatGenius."""
