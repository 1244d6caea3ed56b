"""Omnicomm Online, simulated: the REST interface that a pipeline reads."""

from fleetlake.sandbox.omnicomm.room import ROOM

__all__ = ["ROOM"]
