"""What `cgjobs demo` shows: data to work on, and a tour of the jobs over it."""
