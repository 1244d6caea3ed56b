"""The fleet model: one set of tables for all vendors, in schema ``fleet``, built from the vendors' tables in SQL."""

from fleetlake.fleet.builder import Report, build, status
from fleetlake.fleet.reading import rows

__all__ = ["Report", "build", "rows", "status"]
