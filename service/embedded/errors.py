"""What can go wrong, in words for the person at the keyboard."""


class EmbeddedError(Exception):
    """A server could not be found, prepared, started or reached; the text says what to do."""


class BusyError(EmbeddedError):
    """Another program runs its servers in the same folder."""
