"""Small web services: the receiver of webhooks and the suggestions."""
