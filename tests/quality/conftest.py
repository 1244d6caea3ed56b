"""Small contracts and batches for the quality tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from fleetlake.contracts import Column, Contract, TableCheck
from fleetlake.quality import Verdict, audit
from fleetlake.reading import Kind
from fleetlake.window import Window

if TYPE_CHECKING:
    import pyarrow as pa

DAY = Window.day("2026-11-20")


def column(name: str, kind: str = "text", **facts: Any) -> Column:
    return Column(name=name, type=kind, description=f"The {name}.", **facts)


@pytest.fixture
def make_contract() -> Callable[..., Contract]:
    """A contract with the key ``id`` and the given columns and table checks."""

    def make(*columns: Column, checks: Sequence[TableCheck] = (), key: Sequence[Column] = (), **facts: Any) -> Contract:
        keys = tuple(key) or (column("id", "bigint", is_key=True, required=True),)
        return Contract(
            vendor="powunity",
            name="trip",
            version="1.0.0",
            description="One row per trip.",
            feed="trips",
            kind=Kind.WINDOW,
            columns=(*keys, *columns),
            checks=tuple(checks),
            **facts,
        )

    return make


@pytest.fixture
def make_batch() -> Callable[..., pa.Table]:
    """A batch in the contract's types; the key column ``id`` counts from 1 unless given."""

    def make(contract: Contract, **values: Sequence[Any]) -> pa.Table:
        import pyarrow as pa

        rows = max((len(items) for items in values.values()), default=0)
        values.setdefault("id", range(1, rows + 1))
        arrays = {
            item.name: pa.array(values[item.name], item.arrow_type) for item in contract.columns if item.name in values
        }
        return pa.table({"account": pa.array(["north"] * rows, pa.string()), **arrays})

    return make


@pytest.fixture
def judge() -> Callable[..., Verdict]:
    """Audit a batch of 2026-11-20 without Data Docs."""

    def run(contract: Contract, batch: pa.Table, **more: Any) -> Verdict:
        arguments = {"window": DAY, "known_values": {}, "load_id": "load-1", "docs_dir": None, **more}
        return audit(contract, batch, **arguments)

    return run
