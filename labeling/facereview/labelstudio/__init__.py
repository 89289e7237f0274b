"""Label Studio: its API behind `ReviewServer`, and a server of our own."""
