"""OMNI Platform, simulated: event service and platform API, the part that a pipeline reads by request."""

from fleetlake.sandbox.omni_platform.room import ROOM

__all__ = ["ROOM"]
