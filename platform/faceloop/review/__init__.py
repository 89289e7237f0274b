"""Asking people and taking in what they say: a workspace, its logs and the labelling server joined."""
