"""SuiviDeFlotte.net, simulated: keys, rate limit, filters and the resources that a pipeline reads."""

from fleetlake.sandbox.suivideflotte.room import ROOM

__all__ = ["ROOM"]
