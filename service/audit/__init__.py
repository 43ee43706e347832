"""Owns the security events in Postgres: one vocabulary, append-only, written in the transaction that they tell of.

Hands on `record` and its kin for whoever makes an event true, `Failures` for those that are too many to be
rows of their own, and reading and following for operators.
"""

from service.audit.failures import Failure, Failures
from service.audit.recording import Event, acting_as, delete_over, record, record_all, record_ends

__all__ = ["Event", "Failure", "Failures", "acting_as", "delete_over", "record", "record_all", "record_ends"]
