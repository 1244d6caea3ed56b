from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from fleetlake.contracts import Contract, load_contracts
from fleetlake.errors import ConfigError, MalformedAnswer
from fleetlake.pipeline.decode import Decoded, decode_rows
from fleetlake.vendors.omni_platform import decode, mapping
from fleetlake.vendors.omni_platform.source import FEEDS

INCLUDE = Path(__file__).parents[3] / "include"
EVENT = {
    "id": "00000000-0000-4000-8000-000000000001",
    "date": "2026-01-05T10:48:27.364000+00:00",
    "creationDate": "2026-01-05T10:48:29+00:00",
    "type": "IDENTIFICATION",
    "agentId": "00000000-0000-4000-8000-0000000000e1",
    "cameraId": "00000000-0000-4000-8000-0000000000c1",
    "data": {
        "$image": {"id": "00000000-0000-4000-8000-000000000002"},
        "$original_image": {"id": "00000000-0000-4000-8000-000000000003"},
        "identification_data": [
            {
                "profile_id": "00000000-0000-4000-8000-0000000000f1",
                "confidence": 0.93,
                "groups": [{"id": "00000000-0000-4000-8000-0000000000d1", "color": "orange.400"}],
                "age": 30,
                "gender": "MALE",
            }
        ],
    },
}


@pytest.fixture(scope="module")
def contracts() -> dict[str, Contract]:
    return dict(load_contracts(INCLUDE, "omni_platform"))


def body(name: str, items: list[Any], **more: Any) -> bytes:
    return json.dumps({"data": {name: {"totalCount": len(items), "collectionItems": items}, **more}}).encode()


def typed(contracts: dict[str, Contract], *events: dict[str, Any], keeps: bool = False) -> Decoded:
    mark = {decode.KEPT_MARK: "Query"} if keeps else {}
    rows = decode.split("events", "omni_platform.event", body("events", list(events), **mark))
    return decode_rows(contracts["omni_platform.event"], rows, mapping.DERIVATIONS["omni_platform.event"])


def test_an_event_is_flattened_and_masked(contracts: dict[str, Contract]) -> None:
    row = typed(contracts, EVENT).table.to_pylist()[0]
    assert row["event_type"] == "identification"
    assert row["event_time"].isoformat() == "2026-01-05T10:48:27.364000+00:00"
    assert (row["image_id"], row["original_image_id"]) == (None, None)
    assert row["candidates_count"] == 1
    assert json.loads(row["candidates"]) == [
        {
            "profile_id": "00000000-0000-4000-8000-0000000000f1",
            "confidence": 0.93,
            "group_ids": ["00000000-0000-4000-8000-0000000000d1"],
            "age": None,
            "gender": None,
        }
    ]
    assert json.loads(row["data"]) == {
        "identification_data": [
            {
                "profile_id": "00000000-0000-4000-8000-0000000000f1",
                "confidence": 0.93,
                "groups": [{"id": "00000000-0000-4000-8000-0000000000d1", "color": "orange.400"}],
            }
        ]
    }


def test_people_are_kept_only_where_the_answer_says_so(contracts: dict[str, Contract]) -> None:
    kept = typed(contracts, EVENT, keeps=True).table.to_pylist()[0]
    assert [(item["age"], item["gender"]) for item in json.loads(kept["candidates"])] == [(30, "MALE")]
    assert json.loads(kept["data"]) == EVENT["data"]
    assert (kept["image_id"][-1], kept["original_image_id"][-1]) == ("2", "3")


@pytest.mark.parametrize(
    "date", ["2026-01-05T10:48:27.364000+00:00", "2026-01-05 10:48:27.364000+00:00", "2026-01-05T12:48:27.364+02:00"]
)
def test_both_spellings_of_a_date_are_one_moment(date: str, contracts: dict[str, Contract]) -> None:
    assert str(typed(contracts, {**EVENT, "date": date}).table["event_time"][0]) == "2026-01-05 10:48:27.364000+00:00"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, None),
        ({}, None),
        ({"identification_data": None}, None),
        ({"identification_data": "none"}, None),
        ({"identification_data": []}, []),
        ({"identification_data": ["odd", 7]}, []),
        ({"identification_data": [{}]}, [(None, None, [])]),
        (
            {"identification_data": [{"profile_id": "A", "confidence": True, "profile_groups": ["G", 7]}]},
            [("a", None, ["g"])],
        ),
        ({"candidates": [{"profile": {"id": "P"}, "confidence": 1, "profile_groups": [{"id": "G"}]}]}, [("p", 1.0, ["g"])]),
        ("text", None),
        ([1], None),
    ],
)
def test_data_is_read_defensively(data: Any, expected: Any, contracts: dict[str, Contract]) -> None:
    """OPL-01: empty candidates, other shapes, nonsense: the event itself is never lost."""
    decoded = typed(contracts, {**EVENT, "data": data})
    assert decoded.rejects == []
    row = decoded.table.to_pylist()[0]
    found = None if row["candidates"] is None else json.loads(row["candidates"])
    assert expected == (
        None if found is None else [(item["profile_id"], item["confidence"], item["group_ids"]) for item in found]
    )
    assert row["candidates_count"] == (None if expected is None else len(expected))


def test_images_are_found_in_both_shapes(contracts: dict[str, Contract]) -> None:
    row = typed(contracts, {**EVENT, "data": {"image": "AB", "original_image": {"id": "CD"}}}, keeps=True).table.to_pylist()[
        0
    ]
    assert (row["image_id"], row["original_image_id"]) == ("ab", "cd")


def test_a_type_nobody_knows_passes(contracts: dict[str, Contract]) -> None:
    row = typed(contracts, {**EVENT, "type": "FALL_DETECTION", "activityId": None}).table.to_pylist()[0]
    assert (row["event_type"], row["activity_id"]) == ("fall_detection", None)


def test_a_row_that_cannot_be_read_is_set_aside_alone_and_without_its_content(contracts: dict[str, Contract]) -> None:
    """What cannot be read cannot be masked, so not even the quarantine may hold it."""
    odd = body("events", [EVENT]).replace(b'Items": [', b'Items": [7, {"id": "x", "data": {"age": 30, "n": 1e999}}, ')
    rows = decode.split("events", "omni_platform.event", odd)
    decoded = decode_rows(contracts["omni_platform.event"], rows, mapping.DERIVATIONS["omni_platform.event"])
    assert decoded.indices == [2]
    assert [reject.index for reject in decoded.rejects] == [0, 1]
    assert [bytes(row) for row in rows[:2]] == [b"null", b"null"]


NASTY = {
    "full_name": "Ada", "surname": "Ada", "phone": "Ada", "email": "Ada", "date_of_birth": "Ada", "first-name": "Ada",
    "Passport": "Ada", "age": 30, "Age": 30, "gender": "Ada", "info": {"id": "Ada"}, "description": ["Ada"],
    "image_link": "http://omni/Ada", "original_image_link": "Ada", "$image": {"id": "Ada"}, "image": "Ada",
    "original_image": "Ada", "sample_link": "Ada", "main_sample_id": "Ada", "navatar_id": "Ada", "avatarId": "Ada",
    "": "Ada", "имя": "Ada",
}  # fmt: skip


def test_no_name_but_known_harmless_ones_survives_at_any_depth(contracts: dict[str, Contract]) -> None:
    """A later version or a workspace's own form may call a person's data anything."""
    profile = {"id": "P", **NASTY}
    candidate = {"profile_id": "P", "confidence": 0.9, "profile": profile, "groups": [{"id": "G", **NASTY}], **NASTY}
    data = {"identification_data": [candidate], "object": {"class": "face", "id": "T", **NASTY}, "bbox": {"x": 1}, **NASTY}
    (row,) = typed(contracts, {**EVENT, "data": data}).table.to_pylist()
    assert "Ada" not in str(row)
    assert "30" not in str(row["data"]) + str(row["candidates"])
    assert json.loads(row["data"]) == {
        "identification_data": [
            {"profile_id": "P", "confidence": 0.9, "profile": {"id": "P"}, "groups": [{"id": "G"}]},
        ],
        "object": {"class": "face", "id": "T"},
        "bbox": {"x": 1},
    }
    assert json.loads(row["candidates"])[0]["group_ids"] == ["g"]


@pytest.mark.parametrize("data", ["Ada Lovelace", 17, ["x", {"name": "Ada Lovelace"}]])
def test_data_without_names_is_masked_too(data: Any, contracts: dict[str, Contract]) -> None:
    (row,) = typed(contracts, {**EVENT, "data": data}).table.to_pylist()
    assert "Ada" not in str(row)


def test_a_profile_told_unasked_is_masked_all_the_same(contracts: dict[str, Contract]) -> None:
    profile = {"id": "P", "info": {"age": 30, "name": "Ada", "custom": "Ada"}, "profileGroups": [{"id": "G"}]}

    def row(**mark: str) -> dict[str, Any]:
        rows = decode.split("profiles", "omni_platform.profile", body("profiles", [profile], **mark))
        derivation = mapping.DERIVATIONS["omni_platform.profile"]
        return decode_rows(contracts["omni_platform.profile"], rows, derivation).table.to_pylist()[0]  # type: ignore[no-any-return]

    assert (row()["age"], row()["name"], row()["group_ids"]) == (None, None, '["g"]')
    assert "Ada" not in str(row())
    assert (row(personalDataKept="Query")["age"], row(personalDataKept="Query")["name"]) == (30, "Ada")


def test_logins_in_titles_are_masked_before_anybody_sees_them() -> None:
    items = [{"id": "c", "title": "rtsp://viewer:secret@192.0.2.10/stream"}, {"id": "d", "title": None}]
    rows = decode.split("cameras", "omni_platform.camera", body("cameras", items))
    assert [json.loads(bytes(row))["title"] for row in rows] == ["rtsp://***@192.0.2.10/stream", None]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'{"data": null}',
        b'{"data": {}}',
        b'{"data": {"events": null}}',
        b'{"data": {"events": {"totalCount": null, "collectionItems": []}}}',
        b'{"data": {"events": {"totalCount": 0, "collectionItems": null}}}',
        b'{"data": {"events": {"totalCount": 0}}}',
        b'{"data": {"events": {"totalCount": 1, "collectionItems": [{"id"',
        b"[" * 100_000,
    ],
)
def test_anything_but_a_whole_list_is_malformed(text: bytes) -> None:
    with pytest.raises(MalformedAnswer, match="no list of events"):
        decode.split("events", "omni_platform.event", text)


def test_a_feed_fills_its_own_table_only() -> None:
    with pytest.raises(ConfigError):
        decode.split("events", "omni_platform.camera", body("events", []))


def test_every_feed_has_its_contract_and_every_column_a_maker(contracts: dict[str, Contract]) -> None:
    assert {table for feed in FEEDS.values() for table in feed.datasets} == set(contracts)
    for table, contract in contracts.items():
        assert FEEDS[contract.feed].kind is contract.kind
        odd = {column.name for column in contract.columns if column.source is None}
        derivation = mapping.DERIVATIONS.get(table)
        for size in (0, 2):
            columns = {column.name: pa.nulls(size, column.arrow_type) for column in contract.columns if column.source}
            needs: dict[str, list[Any]] = {name: [None] * size for name in (derivation.needs if derivation else ())}
            made = derivation.make(needs, columns) if derivation else {}
            assert set(made) == odd
            assert all(len(values) == size for values in made.values())


def test_rows_count_and_name_what_came() -> None:
    found = decode.rows("events", body("events", [{"id": "a"}, {"id": 7}, {}, "odd"]))
    assert found.total == 4
    assert found.ids() == ["a", "7", None, None]
    assert all(isinstance(row, msgspec.Raw) for row in found.rows)
