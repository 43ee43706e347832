"""Verify Sealwright's access tokens in a resource service."""
