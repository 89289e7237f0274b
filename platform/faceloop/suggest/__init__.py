"""What to suggest for a question as things stand now."""
