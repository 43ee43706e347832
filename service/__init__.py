"""Sealwright: issues, rotates, revokes and publishes."""
