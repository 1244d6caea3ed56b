"""Verdicts on batches, by the real Great Expectations."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from fleetlake.contracts import Column, TableCheck
from fleetlake.errors import ConfigError
from fleetlake.quality import CheckResult, Verdict
from fleetlake.quality import judge as judging
from fleetlake.window import Window

pytestmark = pytest.mark.xdist_group("great_expectations")


def column(name: str, kind: str = "text", **facts: Any) -> Column:
    return Column(name=name, type=kind, description=f"The {name}.", **facts)


def at(hour: int, microsecond: int = 0) -> dt.datetime:
    """A moment of 2026-11-20."""
    return dt.datetime(2026, 11, 20, hour, 0, 0, microsecond, tzinfo=dt.UTC)


def reasons(verdict: Verdict) -> list[tuple[int, str, str]]:
    return [(item.row_index, item.check, item.reason) for item in verdict.rejected]


def result(verdict: Verdict, check: str, name: str | None = None) -> CheckResult:
    (found,) = [item for item in verdict.results if (item.check, item.column) == (check, name)]
    return found


GOOD: dict[str, list[Any]] = {
    # per contract type: values with a null, extremes included
    "text": ["a", None, "", "ü · 漢"],
    "jsonb": ['{"a":1}', None, "[]", '"x"'],
    "bigint": [2**53 + 1, None, -(2**63), 2**63 - 1],
    "integer": [0, None, -(2**31), 2**31 - 1],
    "double precision": [0.1, None, -0.0, 1e308],
    "boolean": [True, None, False, True],
    "timestamptz": [at(0), None, at(5, 1), dt.datetime(1970, 1, 1, tzinfo=dt.UTC)],
    "date": [dt.date(2026, 11, 20), None, dt.date(1970, 1, 1), dt.date(9999, 12, 31)],
}


@pytest.mark.parametrize("kind", GOOD)
def test_good_rows_of_every_type_pass_unchanged(kind: str, make_contract: Any, make_batch: Any, judge: Any) -> None:
    contract = make_contract(column("value", kind))
    batch = make_batch(contract, value=GOOD[kind])
    outcome = judge(contract, batch)
    assert (outcome.held, outcome.rejected) == (False, [])
    assert outcome.good.equals(batch)
    assert result(outcome, "type").observed == "as in the contract"


@pytest.mark.parametrize("kind", GOOD)
def test_missing_value_of_every_type_is_set_aside(kind: str, make_contract: Any, make_batch: Any, judge: Any) -> None:
    contract = make_contract(column("value", kind, required=True))
    outcome = judge(contract, make_batch(contract, value=GOOD[kind]))
    assert reasons(outcome) == [(1, "required", "value is missing")]
    assert outcome.good["id"].to_pylist() == [1, 3, 4]
    assert outcome.good["value"].to_pylist() == [value for value in GOOD[kind] if value is not None]


@pytest.mark.parametrize("kind", GOOD)
def test_all_null_column_of_every_type_is_judged(kind: str, make_contract: Any, make_batch: Any, judge: Any) -> None:
    contract = make_contract(column("value", kind), column("needed", kind, required=True))
    outcome = judge(contract, make_batch(contract, value=[None, None], needed=[None, None]))
    assert [item.row_index for item in outcome.rejected] == [0, 1]
    assert result(outcome, "type").success


RANGES = [
    # type, minimum, maximum, values, rows that fail, reason of the first
    ("bigint", 0, 2**53, [0, None, 2**53, 2**53 + 2, -1], [3, 4], "value is 9007199254740994 m; allowed: 0 to 9007199254740992 m"),
    ("bigint", 0, 10, [0, 10, 11], [2], "value is 11 m; allowed: 0 to 10 m"),
    ("integer", 5, None, [5, None, 4], [2], "value is 4 m; allowed: at least 5 m"),
    ("integer", 5, None, [5, 4], [1], "value is 4 m; allowed: at least 5 m"),
    ("double precision", None, 1.5, [1.5, None, 1.6], [2], "value is 1.6 m; allowed: at most 1.5 m"),
    ("timestamptz", "2026-11-20", None, [at(0), None, at(0) - dt.timedelta(microseconds=1)], [2],
     "value is 2026-11-19T23:59:59.999999Z m; allowed: at least 2026-11-20 m"),
    ("date", None, "2026-11-20", [dt.date(2026, 11, 20), None, dt.date(2026, 11, 21)], [2],
     "value is 2026-11-21 m; allowed: at most 2026-11-20 m"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "low", "high", "values", "bad", "reason"), RANGES)
def test_value_out_of_range_is_set_aside_with_its_value(
    kind: str, low: Any, high: Any, values: Any, bad: Any, reason: str, make_contract: Any, make_batch: Any, judge: Any
) -> None:
    contract = make_contract(column("value", kind, minimum=low, maximum=high, unit="m"))
    outcome = judge(contract, make_batch(contract, value=values))
    assert [item.row_index for item in outcome.rejected] == bad
    assert outcome.rejected[0].reason == reason
    found = result(outcome, "range", "value")
    present = [value for value in values if value is not None]
    assert (found.evaluated, found.unexpected) == (len(present), len(bad))
    assert found.unexpected_pct == pytest.approx(100 * len(bad) / len(present))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_not_taken_for_null(bad: float, make_contract: Any, make_batch: Any, judge: Any) -> None:
    contract = make_contract(column("free", "double precision"), column("speed_kmh", "double precision", minimum=0))
    outcome = judge(contract, make_batch(contract, free=[1.0, None, 2.0], speed_kmh=[None, bad, 3.0]))
    assert outcome.good["id"].to_pylist() == [1, 3]
    assert outcome.good["speed_kmh"].to_pylist() == [None, 3.0]
    finite = next(item for item in outcome.rejected if item.check == "finite")
    assert (finite.row_index, finite.column) == (1, "speed_kmh")
    assert finite.reason.startswith("speed_kmh is ")


def test_text_that_does_not_match_is_set_aside(make_contract: Any, make_batch: Any, judge: Any) -> None:
    contract = make_contract(column("dtc", pattern="^[PCBU](?!0000)[0-9A-F]{4}(-[0-9A-F]{2})?$"))
    outcome = judge(contract, make_batch(contract, dtc=["P0123", None, "P0000", "U1A2B-0F", "x" * 200]))
    assert [item.row_index for item in outcome.rejected] == [2, 4]
    assert outcome.rejected[0].reason.startswith("dtc is 'P0000', which does not match ^[PCBU]")
    assert "x" * 120 + "…" in outcome.rejected[1].reason


@pytest.mark.parametrize(
    ("kind", "allowed", "values"),
    [
        ("text", ("on", "off"), ["on", None, "ON"]),
        ("bigint", (1, 2), [1, None, 3]),
        ("integer", (1, 2), [1, None, 3]),
        ("boolean", (True,), [True, None, False]),
        ("double precision", (0.5, 1.0), [0.5, None, 0.7]),
    ],
)
def test_value_outside_an_enum_is_set_aside(
    kind: str, allowed: Any, values: Any, make_contract: Any, make_batch: Any, judge: Any
) -> None:
    contract = make_contract(column("state", kind, enum=allowed))
    outcome = judge(contract, make_batch(contract, state=values))
    assert [(item.row_index, item.check) for item in outcome.rejected] == [(2, "enum")]
    assert "allowed: one of " in outcome.rejected[0].reason


@pytest.mark.parametrize(
    ("kind", "values", "known"), [("bigint", [7, None, 8], {7}), ("text", ["a", None, "b"], {"a", "z"})]
)
def test_reference_to_nothing_is_set_aside(
    kind: str, values: Any, known: Any, make_contract: Any, make_batch: Any, judge: Any
) -> None:
    contract = make_contract(column("device_id", kind, references="powunity.device.device_id"))
    outcome = judge(contract, make_batch(contract, device_id=values), known_values={"device_id": known})
    (row,) = outcome.rejected
    assert row.reason == f"device_id {values[2]!r} does not exist in powunity.device.device_id"


def test_known_values_that_were_not_given_are_a_configuration_error(make_contract: Any, make_batch: Any, judge: Any) -> None:
    contract = make_contract(column("device_id", "bigint", references="powunity.device.device_id"))
    with pytest.raises(ConfigError, match=r"no known values for device_id.*powunity\.device\.device_id"):
        judge(contract, make_batch(contract, device_id=[1]))


def test_of_rows_with_one_key_the_last_good_one_is_kept(make_contract: Any, make_batch: Any, judge: Any) -> None:
    keys = [
        column("device_id", "bigint", is_key=True, required=True),
        column("start_time", "timestamptz", is_key=True, required=True),
    ]
    contract = make_contract(column("distance_m", "double precision", minimum=0), key=keys)
    batch = make_batch(
        contract, device_id=[1, 1, 1, 2, 1], start_time=[at(1), at(2), at(1), at(1), at(1)], distance_m=[10, 20, 30, 40, -1]
    )
    outcome = judge(contract, batch)
    assert reasons(outcome) == [
        (0, "primary_key", "device_id 1, start_time 2026-11-20T01:00:00Z: a later row has the same key"),
        (4, "range", "distance_m is -1.0; allowed: at least 0"),
    ]
    assert outcome.good["distance_m"].to_pylist() == [20, 30, 40]
    assert result(outcome, "primary_key").unexpected == 3


def test_single_column_key_is_unique_too(make_contract: Any, make_batch: Any, judge: Any) -> None:
    contract = make_contract(column("name"))
    outcome = judge(contract, make_batch(contract, id=[5, 6, 5], name=["old", "x", "new"]))
    assert outcome.good["name"].to_pylist() == ["x", "new"]


@pytest.mark.parametrize(("severity", "kept", "held"), [("warning", 3, False), ("error", 2, False), ("critical", 2, True)])
def test_severity_alone_decides_what_happens_to_a_row(
    severity: str, kept: int, held: bool, make_contract: Any, make_batch: Any, judge: Any
) -> None:
    contract = make_contract(column("speed_kmh", "double precision", maximum=250, severity=severity))
    outcome = judge(contract, make_batch(contract, speed_kmh=[1.0, 300.0, None]))
    assert (outcome.good.num_rows, outcome.held) == (kept, held)
    assert [item.severity for item in outcome.rejected] == [severity] * (3 - kept)
    found = result(outcome, "range", "speed_kmh")
    assert (found.success, found.unexpected, found.severity, found.limit) == (False, 1, severity, "at most 250")
    assert outcome.reason == ("speed_kmh range: 1 of 2 values fail (critical)" if held else "")


def test_row_with_two_faults_is_listed_twice_and_counted_once(make_contract: Any, make_batch: Any, judge: Any) -> None:
    limit = TableCheck(name="max_rejected_pct", limit=50, severity="critical")
    contract = make_contract(column("a", required=True), column("b", required=True), checks=[limit])
    outcome = judge(contract, make_batch(contract, a=[None, "x"], b=[None, "y"]))
    assert [(item.row_index, item.column) for item in outcome.rejected] == [(0, "a"), (0, "b")]
    assert result(outcome, "max_rejected_pct").unexpected == 1
    assert not outcome.held


@pytest.mark.parametrize(("severity", "held"), [("warning", False), ("error", True), ("critical", True)])
def test_batch_that_loses_too_many_rows_is_held(
    severity: str, held: bool, make_contract: Any, make_batch: Any, judge: Any
) -> None:
    limit = TableCheck(name="max_rejected_pct", limit=30, severity=severity)
    contract = make_contract(column("a", required=True), checks=[limit])
    outcome = judge(contract, make_batch(contract, a=[None, "x", "y"]))
    assert outcome.held is held
    assert outcome.reason == (f"1 of 3 rows rejected, more than 30 % ({severity})" if held else "")
    found = result(outcome, "max_rejected_pct")
    assert (found.success, found.limit) == (False, "30")


@pytest.mark.parametrize(("rows", "success"), [(1, False), (2, True), (3, True)])
def test_too_few_rows_hold_the_batch(rows: int, success: bool, make_contract: Any, make_batch: Any, judge: Any) -> None:
    contract = make_contract(column("a"), checks=[TableCheck(name="row_count_min", limit=2, severity="critical")])
    outcome = judge(contract, make_batch(contract, a=["x"] * rows))
    assert outcome.held is not success
    assert result(outcome, "row_count_min").observed == str(rows)
    assert outcome.good.num_rows == rows


@pytest.mark.parametrize(
    ("newest", "severity", "success", "held"),
    [(at(23), "warning", True, False), (at(22), "warning", False, False), (at(22), "critical", False, True)],
)
def test_stale_batch_is_told_by_its_newest_row(
    newest: Any, severity: str, success: bool, held: bool, make_contract: Any, make_batch: Any, judge: Any
) -> None:
    check = TableCheck(name="freshness", limit=3600, severity=severity)
    contract = make_contract(column("time", "timestamptz"), time_column="time", checks=[check])
    outcome = judge(contract, make_batch(contract, time=[at(1), newest, None]))
    found = result(outcome, "freshness", "time")
    assert (found.success, outcome.held, outcome.rejected) == (success, held, [])
    assert str(found.observed).startswith(newest.isoformat()[:13])


def test_window_that_is_not_over_yet_is_not_stale(make_contract: Any, make_batch: Any, judge: Any) -> None:
    check = TableCheck(name="freshness", limit=3600, severity="critical")
    contract = make_contract(column("time", "timestamptz"), time_column="time", checks=[check])
    batch = make_batch(contract, time=[at(11)])
    assert judge(contract, batch).held
    fetched = pa.array([at(11, 30)], pa.timestamp("us", tz="UTC"))
    assert not judge(contract, batch.append_column("fetched_at", fetched)).held


def test_empty_batch_is_neither_stale_nor_wrong(make_contract: Any, make_batch: Any, judge: Any) -> None:
    checks = [
        TableCheck(name="freshness", limit=1, severity="critical"),
        TableCheck(name="max_rejected_pct", limit=0, severity="critical"),
    ]
    contract = make_contract(column("time", "timestamptz", required=True), time_column="time", checks=checks)
    outcome = judge(contract, make_batch(contract, time=[]))
    assert (outcome.held, outcome.rejected, outcome.good.num_rows) == (False, [], 0)
    assert all(item.success for item in outcome.results)


WRONG_TYPES = [
    ("bigint", pa.array(["x", "y"]), "value is text, not bigint"),
    ("bigint", pa.array([1, 2], pa.int32()), "value is integer, not bigint"),
    ("bigint", pa.array([1.0, 2.0]), "value is double precision, not bigint"),
    ("double precision", pa.array(["1", None]), "value is text, not double precision"),
    ("boolean", pa.array([0, 1]), "value is bigint, not boolean"),
    ("text", pa.array([1, None]), "value is bigint, not text"),
    ("text", pa.array([True, None]), "value is boolean, not text"),
    ("timestamptz", pa.array([at(1), at(2)], pa.timestamp("us")), "value is datetime64[us], not timestamptz"),
    ("timestamptz", pa.array([at(1), at(2)], pa.timestamp("ms", tz="UTC")), "value is datetime64[ms, UTC], not timestamptz"),
    ("date", pa.array(["2026-11-20", None]), "value is text, not date"),
]


@pytest.mark.parametrize(("kind", "values", "message"), WRONG_TYPES)
def test_column_of_a_wrong_type_holds_the_batch(
    kind: str, values: Any, message: str, make_contract: Any, make_batch: Any, judge: Any
) -> None:
    contract = make_contract(
        column("value", kind, minimum=0) if kind in ("bigint", "double precision") else column("value", kind)
    )
    outcome = judge(contract, make_batch(contract, id=[1, 2]).append_column("value", values))
    assert outcome.held
    assert message in outcome.reason


def test_column_that_is_not_there_holds_the_batch(make_contract: Any, make_batch: Any, judge: Any) -> None:
    contract = make_contract(column("speed_kmh", "double precision", minimum=0, required=True))
    outcome = judge(contract, make_batch(contract, id=[1, 2]))
    assert outcome.held
    assert "type: speed_kmh is not there (critical)" in outcome.reason


def test_check_that_cannot_be_evaluated_holds_the_batch(make_contract: Any, make_batch: Any, judge: Any) -> None:
    contract = make_contract(column("speed_kmh", "double precision", minimum=0, severity="warning"))
    outcome = judge(contract, make_batch(contract, id=[1]).append_column("speed_kmh", pa.array(["fast"])))
    assert "speed_kmh range could not be checked: " in outcome.reason
    assert not result(outcome, "range", "speed_kmh").success


def test_large_batch_is_judged_in_slices_with_the_same_verdict(
    make_contract: Any, make_batch: Any, judge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = [
        TableCheck(name="row_count_min", limit=40, severity="critical"),
        TableCheck(name="freshness", limit=3600, severity="warning"),
    ]
    contract = make_contract(
        column("a", "bigint", maximum=100, required=True),
        column("time", "timestamptz"),
        column("free", "double precision"),
        checks=checks,
        time_column="time",
    )
    values: dict[str, list[Any]] = {
        "id": [*range(50)],
        "a": [*range(50)],
        "time": [at(23)] + [at(1)] * 49,
        "free": [None, 1.0] * 25,
    }
    values["id"][49] = 0  # the same key in the first and the last slice
    values["a"][17], values["a"][33] = 101, None
    values["free"][48] = float("nan")
    batch = make_batch(contract, **values)
    whole = judge(contract, batch)
    monkeypatch.setattr(judging, "SLICE_ROWS", 7)
    sliced = judge(contract, batch)
    assert reasons(sliced) == [
        (0, "primary_key", "id 0: a later row has the same key"),
        (17, "range", "a is 101; allowed: at most 100"),
        (33, "required", "a is missing"),
        (48, "finite", "free is NaN, not a number"),
    ]
    assert (sliced.rejected, sliced.good, sliced.held) == (whole.rejected, whole.good, False)
    assert sorted(sliced.results, key=str) == sorted(whole.results, key=str)


def test_parameters_of_one_batch_do_not_leak_into_the_next(make_contract: Any, make_batch: Any, judge: Any) -> None:
    check = TableCheck(name="freshness", limit=3600, severity="critical")
    contract = make_contract(
        column("time", "timestamptz"), column("device", "bigint", references="powunity.device.device_id"), time_column="time", checks=[check]
    )  # fmt: skip
    batch = make_batch(contract, time=[at(23)], device=[1])
    for known, day, expected in (
        ({1}, "2026-11-20", (False, 0)),
        (set(), "2026-11-21", (True, 1)),
        ({1}, "2026-11-20", (False, 0)),
    ):
        outcome = judge(contract, batch, known_values={"device": known}, window=Window.day(day))
        assert (outcome.held, len(outcome.rejected)) == expected


def test_batch_of_many_chunks_is_indexed_as_a_whole(make_contract: Any, make_batch: Any, judge: Any) -> None:
    contract = make_contract(column("a", required=True))
    first = make_batch(contract, id=[1, 2], a=["x", None])
    batch = pa.concat_tables([first, make_batch(contract, id=[3, 4], a=["y", None])])
    outcome = judge(contract, batch)
    assert [item.row_index for item in outcome.rejected] == [1, 3]
    assert outcome.good["id"].to_pylist() == [1, 3]
