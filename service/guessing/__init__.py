"""Guessing: how often something may fail before whoever tries has to wait, and longer each time.

Owns the counts of wrong passwords, of clients that did not prove themselves and of registrations: in Redis for all
replicas, in the process where Redis is away. Hands on `Guesses`: a try is begun, and turns out wrong, right or neither.
"""

from service.guessing.guesses import Guess, Guesses

__all__ = ["Guess", "Guesses"]
