"""A stranger: a machine with our wheels alone, and a plugin by somebody else."""
