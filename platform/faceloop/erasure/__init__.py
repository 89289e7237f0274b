"""Erasure with proof: every byte of a person found and removed, looked up again, certified."""
