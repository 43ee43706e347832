"""Looks after the key ring while the service runs.

Each worker reports which keys it publishes; one of them at a time rotates what has grown old, says when an appointed
key begins to sign, and finishes what a compromise began. Nobody schedules a job.
"""

from service.keeping.keeper import Keeper

__all__ = ["Keeper"]
