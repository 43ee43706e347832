"""`sealwright doctor`: looks at everything that a deployment stands on, and says what to do about what is wrong.

Each part is looked at for itself, within a bound of time, and with what is set: one that is down or missing
spoils only its own checks.
"""

from service.cli.doctor.command import doctor

__all__ = ["doctor"]
