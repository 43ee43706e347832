"""Owns what users do with their own account, and what operators do to users and clients.

Each change comes together with the end of the sessions and tokens that it must take along.
"""
