"""Owns clients and resources: their rows, the copy that every worker keeps of them, and client authentication."""
