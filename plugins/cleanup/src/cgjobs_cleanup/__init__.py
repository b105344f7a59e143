"""The cleanup jobs of ChatGenius."""
