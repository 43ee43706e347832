"""Owns users, their passwords and their roles: the rows, the hashing, and the scopes that roles carry."""
