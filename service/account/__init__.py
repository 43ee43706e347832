"""Owns what users do with their own account (/me, /sessions, /logout, the password), and what operators do to
users and clients: each change together with the end of the sessions and tokens that it must take along.
"""
