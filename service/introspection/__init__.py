"""Owns /introspect (RFC 7662) and /revoke (RFC 7009): what a client may learn of a token, and taking it back."""
