"""A place for faults: see ``tests/warehouse/pipeline/conftest.py``."""

from __future__ import annotations

from tests.warehouse.pipeline.conftest import place, sandbox

__all__ = ["place", "sandbox"]
