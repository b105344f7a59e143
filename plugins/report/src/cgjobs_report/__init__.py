"""The report jobs of ChatGenius."""
