"""Remoto Cloud Services, simulated: the part of the Third-Party API that a pipeline reads."""

from fleetlake.sandbox.rcs.room import ROOM

__all__ = ["ROOM"]
