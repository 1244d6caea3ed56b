"""The raw store: every vendor answer, byte for byte, committed page by page, and the journal of what was published from them."""

from fleetlake.raw.journal import EntryName, Journal
from fleetlake.raw.keys import PageRef, ReadKey
from fleetlake.raw.store import RawStore

__all__ = ["EntryName", "Journal", "PageRef", "RawStore", "ReadKey"]
