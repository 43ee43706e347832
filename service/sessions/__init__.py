"""Owns the session row and every statement on it: start, rotate, end, read.

One session is one row, whatever the number of rotations. Hands on outcomes; who answers what to whom is
decided by the grants and the account's endpoints. No other package touches the table.
"""
