"""The raw store: every vendor answer, byte for byte, committed page by page. The log that all else is derived from."""

from fleetlake.raw.keys import PageRef, ReadKey
from fleetlake.raw.store import RawStore

__all__ = ["PageRef", "RawStore", "ReadKey"]
