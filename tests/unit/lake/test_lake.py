"""The lake by itself; that its rows equal the warehouse's is tested where there is a warehouse."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from fleetlake.changes import Change
from fleetlake.contracts import Column, Contract
from fleetlake.errors import ContractError, StoreUnavailable
from fleetlake.lake import Deletion, Lake
from fleetlake.lake.objects import remedy, storage_options, words
from fleetlake.reading import Kind
from fleetlake.window import Window

T0 = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)


def contract(**changes: Any) -> Contract:
    fields: dict[str, Any] = {
        "vendor": "sample",
        "name": "ride",
        "version": "1.0.0",
        "description": "Rides for tests.",
        "feed": "rides",
        "kind": Kind.WINDOW,
        "time_column": "event_time",
        "columns": (
            Column(name="ride_id", type="text", description="Name.", is_key=True, required=True),
            Column(name="event_time", type="timestamptz", description="When.", required=True),
            Column(name="speed_kmh", type="double precision", description="How fast.", unit="km/h"),
            Column(name="extra", type="jsonb", description="More."),
        ),
        **changes,
    }
    return Contract(**fields)


def batch(of: Contract, *rows: tuple[str, float, float | None], fetched: float = 0) -> pa.Table:
    """Rows of ride id, hour and speed."""
    schema = of.arrow_schema
    found = [
        {
            "account": "north", "ride_id": ride_id, "event_time": T0 + dt.timedelta(hours=hour), "speed_kmh": speed,
            "extra": '{"a":[1,null]}', "fetched_at": T0 + dt.timedelta(days=9, hours=fetched), "raw_page": "p", "raw_row": 0,
            "load_id": "", "deleted_at": None,
        }
        for ride_id, hour, speed in rows
    ]  # fmt: skip
    return pa.Table.from_pylist(found, schema=schema)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def files(lake: Lake, of: Contract) -> set[str]:
    return set(DeltaTable(lake.uri(of)).file_uris())


def test_the_table_tells_units_descriptions_and_days(lake: Lake) -> None:
    of = contract()
    lake.publish(of, batch(of, ("a", 1, 2.5)), "L1")
    table = DeltaTable(lake.uri(of))
    field = pa.schema(table.schema().to_arrow()).field("speed_kmh")
    assert field.metadata == {b"unit": b"km/h", b"description": b"How fast."}
    assert (table.metadata().name, table.metadata().description) == ("sample.ride", "Rides for tests.")
    assert table.metadata().partition_columns == ["day"]
    assert [name.rsplit("/", 2)[-2] for name in table.file_uris()] == ["day=2026-01-05"]


def test_a_table_that_is_not_there_is_empty(lake: Lake) -> None:
    of = contract()
    assert list(lake.rows(of)) == []
    assert lake.scan(of).read_all().schema.names == of.arrow_schema.names
    assert lake.last_load_id(of) is None


def test_new_rows_are_appended_and_no_file_is_written_again(lake: Lake) -> None:
    of = contract()
    lake.publish(of, batch(of, ("a", 1, 1.0)), "L1")
    before = files(lake, of)
    assert lake.publish(of, batch(of, ("b", 2, 1.0), ("c", 30, 1.0)), "L2") == Change(inserted=2)
    assert before < files(lake, of)


def test_only_the_days_concerned_are_written_again(lake: Lake) -> None:
    of = contract()
    lake.publish(of, batch(of, ("a", 1, 1.0), ("b", 30, 1.0), ("c", 60, 1.0)), "L1")
    before = files(lake, of)
    assert lake.publish(of, batch(of, ("b", 30, 9.0), fetched=1), "L2") == Change(updated=1)
    kept = before & files(lake, of)
    assert {name.rsplit("/", 2)[-2] for name in kept} == {"day=2026-01-05", "day=2026-01-07"}


def test_the_last_load_is_known_from_the_log(lake: Lake) -> None:
    of = contract()
    lake.publish(of, batch(of, ("a", 1, 1.0)), "L1")
    lake.publish(of, batch(of, ("b", 1, 1.0)), "L2")
    lake.optimise(of)
    assert lake.last_load_id(of) == "L2"


def test_optimising_joins_files_and_keeps_rows(lake: Lake) -> None:
    of = contract()
    for number in range(6):
        lake.publish(of, batch(of, (f"r{number}", 1, 1.0)), f"L{number}")
    rows = sorted(row["ride_id"] for row in lake.rows(of))
    lake.optimise(of, keep=dt.timedelta(0))
    assert len(files(lake, of)) == 1
    assert sorted(row["ride_id"] for row in lake.rows(of)) == rows
    on_disk = {path.name for path in Path(lake.uri(of)).rglob("*.parquet") if "_delta_log" not in path.parts}
    assert len(on_disk) == 1, "files that no version needs are gone"
    assert lake.publish(of, batch(of, ("r0", 1, 5.0), fetched=1), "L9") == Change(updated=1)


def test_rows_are_python_values_with_json_decoded_and_times_in_utc(lake: Lake) -> None:
    of = contract()
    lake.publish(of, batch(of, ("a", 1.5, None)), "L1")
    (row,) = lake.rows(of)
    assert row["extra"] == {"a": [1, None]}
    assert row["event_time"] == T0 + dt.timedelta(hours=1.5)
    assert row["event_time"].utcoffset() == dt.timedelta(0)
    assert (row["speed_kmh"], row["deleted_at"], row["load_id"]) == (None, None, "L1")
    assert "day" not in row


def test_a_deletion_of_all_time_without_rows_in_the_batch(lake: Lake) -> None:
    of = contract()
    lake.publish(of, batch(of, ("a", 1, 1.0), ("b", 100, 1.0)), "L1")
    everything = Deletion(account="north", at=T0 + dt.timedelta(days=20))
    assert lake.publish(of, batch(of), "L2", [everything]) == Change(deleted=2)
    assert lake.publish(of, batch(of), "L2", [everything]) == Change()
    nothing = Deletion(account="south", at=T0 + dt.timedelta(days=20), window=Window.day(T0))
    assert lake.publish(of, batch(of), "L3", [nothing]) == Change()


def test_a_changed_type_is_refused_with_both_types(lake: Lake) -> None:
    of = contract()
    lake.publish(of, batch(of, ("a", 1, 1.0)), "L1")
    columns = tuple(dataclasses.replace(c, type="text") if c.name == "speed_kmh" else c for c in of.columns)
    altered = dataclasses.replace(of, columns=columns)
    with pytest.raises(
        ContractError, match=r"speed_kmh is double in the lake and string in the contract.*new name.*load its days again"
    ):
        lake.publish(altered, batch(of).cast(altered.arrow_schema), "L2")


def test_a_time_column_that_may_be_null_is_refused(lake: Lake) -> None:
    of = contract()
    columns = tuple(dataclasses.replace(c, required=False) if c.name == "event_time" else c for c in of.columns)
    loose = dataclasses.replace(of, columns=columns)
    with pytest.raises(ContractError, match="timeColumn 'event_time' is not required"):
        lake.publish(loose, batch(of, ("a", 1, 1.0)), "L1")


def test_a_lake_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file where a folder should be")
    of = contract()
    with pytest.raises(StoreUnavailable, match="FLEETLAKE_LAKE_URL"):
        Lake(str(tmp_path / "lake")).publish(of, batch(of, ("a", 1, 1.0)), "L1")


def test_a_file_that_is_missing_is_told_while_rows_are_read(lake: Lake) -> None:
    of = contract()
    lake.publish(of, batch(of, ("a", 1, 1.0)), "L1")
    (file,) = files(lake, of)
    Path(file.removeprefix("file://")).unlink()
    with pytest.raises(StoreUnavailable, match=r"the lake fails: .*sample/ride.*FLEETLAKE_LAKE_URL"):
        list(lake.rows(of))


def test_options_of_an_object_store_follow_its_address() -> None:
    assert storage_options("/data/lake", {}) is None
    assert "aws_allow_http" not in (storage_options("s3://b/lake", {}) or {})
    assert "aws_allow_http" not in (storage_options("s3://b/lake", {"AWS_ENDPOINT_URL": "https://s3.local"}) or {})
    assert (storage_options("s3://b/lake", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}) or {})["aws_allow_http"] == "true"


def test_what_an_object_store_answers_is_told_without_what_it_repeats() -> None:
    answer = (
        "Generic S3 error\n \x1b[31m↳\x1b[0m 400 Bad Request\n<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>"
        "The provided token has expired.</Message><Token-0>IQoJb3JpZ2lu</Token-0><AWSAccessKeyId>AKIA1</AWSAccessKeyId></Error>"
    )
    assert words(OSError(answer)) == "ExpiredToken: The provided token has expired."
    assert "AWS_SESSION_TOKEN" in remedy(OSError(answer))
    assert words(OSError("Generic S3 error\n ↳ error sending request\n<?xml version='1.0'?><Token-0>t</Token-0>")) == (
        "Generic S3 error · error sending request"
    )
