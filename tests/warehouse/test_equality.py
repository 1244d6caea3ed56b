"""Whatever is published in whatever order: lake and warehouse hold the same rows, and those that a plain model says."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from fleetlake.changes import Change, Deletion
from fleetlake.lake import Lake
from fleetlake.warehouse import Warehouse
from fleetlake.window import Window
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .samples import contract, hours, publish_both, ride

INCLUDE = Path(__file__).resolve().parents[2] / "include"


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[Deletion]]:
    fetched = draw(st.integers(0, 9))
    rows = [
        ride(
            draw(st.sampled_from("abcdef")),
            draw(st.integers(1, 2)),
            draw(st.sampled_from([1, 20, 25, 47, 60])),
            fetched=fetched,
            raw_row=number,
            account=draw(st.sampled_from(["north", "north", "south"])),
            note=draw(st.sampled_from([None, "x", "y"])),
            speed_kmh=draw(st.sampled_from([None, 0.0, 1.5])),
            extra=draw(st.sampled_from([None, "{}", '{"a":1}'])),
        )
        for number in range(draw(st.integers(0, 6)))
    ]
    deletions = [
        Deletion(
            account=draw(st.sampled_from(["north", "south"])),
            scopes=draw(st.sampled_from([None, ["1"], ["1", "2"]])),
            window=draw(st.sampled_from([None, Window(hours(0), hours(24)), Window(hours(20), hours(50))])),
            at=hours(1000 + fetched),
        )
        for _ in range(draw(st.integers(0, 2)))
    ]
    return rows, deletions


class Model:
    """The rules of ``fleetlake.changes``, one row at a time."""

    def __init__(self, merge: str) -> None:
        self.merge = merge
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}

    def publish(self, rows: list[dict[str, Any]], load_id: str, deletions: list[Deletion]) -> Change:
        batch = {(row["account"], row["ride_id"]): row for row in sorted(rows, key=lambda row: row["raw_row"])}
        counts = {"inserted": 0, "updated": 0, "unchanged": 0, "deleted": 0}
        for key, row in batch.items():
            counts[self._put(key, {"deleted_at": None, **row, "load_id": load_id})] += 1
        for deletion in deletions:
            for key, row in self.rows.items():
                if (
                    key not in batch
                    and row["deleted_at"] is None
                    and row["account"] == deletion.account
                    and row["fetched_at"] <= deletion.at
                    and (deletion.scopes is None or str(row["vehicle_id"]) in deletion.scopes)
                    and (deletion.window is None or row["event_time"] in deletion.window)
                ):
                    row |= {"deleted_at": deletion.at, "load_id": load_id}
                    counts["deleted"] += 1
        return Change(**counts)

    def _put(self, key: tuple[str, str], new: dict[str, Any]) -> str:
        old = self.rows.get(key)
        if old is None:
            self.rows[key] = new
            return "inserted"
        is_newer = new["fetched_at"] >= max(old["fetched_at"], old["deleted_at"] or old["fetched_at"])
        content = ("vehicle_id", "event_time", "note", "speed_kmh", "extra")
        if self.merge == "coalesce":
            first, second = (new, old) if is_newer else (old, new)
            new = {
                **first,
                **{name: second[name] if first[name] is None else first[name] for name in content},
                "load_id": new["load_id"],
            }
        elif not is_newer:
            return "unchanged"
        if all(new[name] == old[name] for name in (*content, "deleted_at")):
            return "unchanged"
        self.rows[key] = new
        return "updated"


@given(
    steps=st.lists(st.tuples(batches(), st.booleans()), min_size=1, max_size=5),
    merge=st.sampled_from(["replace", "coalesce"]),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_of_batches_gives_the_same_rows_in_both_stores(
    warehouse: Warehouse, tmp_path: Path, steps: list[tuple[tuple[list[dict[str, Any]], list[Deletion]], bool]], merge: str
) -> None:
    of = contract(f"ride_{uuid.uuid4().hex[:8]}", merge=merge)
    warehouse.migrate([of], INCLUDE)
    lake = Lake(str(tmp_path / uuid.uuid4().hex))
    model = Model(merge)
    for number, ((rows, deletions), again) in enumerate(steps):
        load_id = f"L{number}"
        expected = model.publish(rows, load_id, deletions)
        assert publish_both(warehouse, lake, of, rows, load_id, *deletions) == expected
        if again:  # publishing the last batch once more is not a change
            repeated = publish_both(warehouse, lake, of, rows, load_id, *deletions)
            assert (repeated.inserted, repeated.updated, repeated.deleted) == (0, 0, 0)
    found = {(row["account"], row["ride_id"]): row for row in warehouse.rows(of)}
    assert found.keys() == model.rows.keys()
    for key, row in model.rows.items():
        for name in ("vehicle_id", "event_time", "note", "speed_kmh", "load_id", "deleted_at", "fetched_at", "raw_page"):
            assert found[key][name] == row[name], (key, name)
