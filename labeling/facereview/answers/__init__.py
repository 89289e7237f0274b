"""What people answered, from the server's own state into the logs."""
