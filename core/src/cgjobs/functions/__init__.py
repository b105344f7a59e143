"""The server-side functions: one ``.lua`` file for each move of a job, and a prelude that they share."""
