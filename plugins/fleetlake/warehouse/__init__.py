"""The warehouse: PostgreSQL tables made from the contracts, and the ledger of our own work in schema ``ops``."""

from fleetlake.changes import Change, Deletion
from fleetlake.warehouse.publication import Publication
from fleetlake.warehouse.records import CheckRecord, LoadRecord, QuarantineRecord, ReadEnd, ReadRecord
from fleetlake.warehouse.store import Warehouse

__all__ = [
    "Change",
    "CheckRecord",
    "Deletion",
    "LoadRecord",
    "Publication",
    "QuarantineRecord",
    "ReadEnd",
    "ReadRecord",
    "Warehouse",
]
