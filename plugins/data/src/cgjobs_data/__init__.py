"""Where ChatGenius' data is: what the job plugins share."""
