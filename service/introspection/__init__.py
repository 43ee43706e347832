"""Owns what clients and resource services may learn of tokens, and taking one back.

/introspect (RFC 7662), /revoke (RFC 7009), and the feed of revocations for those who verify on their own.
"""
