"""Revisions of the catalogue's tables, oldest first by their numbers."""
