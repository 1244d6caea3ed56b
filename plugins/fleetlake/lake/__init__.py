"""The lake: one Delta Lake table per dataset, the same rows as the warehouse, readable by every engine without us."""

from fleetlake.changes import Change, Deletion
from fleetlake.lake.store import Lake

__all__ = ["Change", "Deletion", "Lake"]
