"""The vendor's own object behind a row, found whatever a vendor's room does to it."""

from __future__ import annotations

import json

import msgspec
import pytest
from fleetlake.pipeline.places import Places
from fleetlake.reading import Asked, with_fields
from fleetlake.vendors.omnicomm.decode import split as omnicomm
from fleetlake.vendors.rcs.decode import split as rcs

ROWS = msgspec.json.Decoder(list[msgspec.Raw])


def object_of(body, place):
    return json.loads(body[place.start : place.end])


def test_a_row_that_is_a_slice_of_the_body_is_found_among_equal_ones():
    body = b'[ {"id":1,"text":"a } \\" { b"} , {"id":1,"text":"a } \\" { b"},{}, {"in":[{"id":1}]} ]'
    places = Places(body, ROWS.decode)
    found = [places.of(index) for index in range(4)]
    assert [(item.start, item.end) for item in found] == [(2, 30), (33, 61), (62, 64), (66, 83)]
    assert [object_of(body, item) for item in found] == json.loads(body)
    assert all(item.added == () and item.around is None for item in found)


def test_fields_put_in_front_are_told_and_what_stands_around():
    body = b'{"name":"tank","rows":[{"a":1},{"a":2}]}'

    def split(text):
        return [
            with_fields(row, {"_tank": 1})
            for row in ROWS.decode(msgspec.json.decode(text, type=dict[str, msgspec.Raw])["rows"])
        ]

    place = Places(body, split).of(1)
    assert body[place.start : place.end] == b'{"a":2}'
    assert (place.added, place.around) == (("_tank",), (0, len(body)))


def test_rows_with_other_names_are_found():
    body = b'{"items":[{"vehicleId":"v1","engineSpeed":{"rawValue":3}},{"vehicleId":"v2"}]}'
    places = Places(body, lambda text: rcs("vehicles", "rcs.vehicle", text))
    assert json.loads(bytes(places.rows[1])) == {"vehicle_id": "v2"}
    assert [object_of(body, places.of(index))["vehicleId"] for index in range(2)] == ["v1", "v2"]


def test_a_row_made_inside_another_object_says_what_it_has_from_there():
    body = b'[{"id":"r1","vehicle_id":"v","created_at":"t","troubles":[{"dtc":1},{"dtc":2,"ecu":"abs"}]}]'
    places = Places(body, lambda text: rcs("health_reports", "rcs.trouble", text))
    place = places.of(1)
    assert object_of(body, place) == {"dtc": 2, "ecu": "abs"}
    assert set(place.added) == {"report_id", "vehicle_id", "created_at"}
    assert place.around == (1, len(body) - 1)


def test_a_row_made_of_repeated_objects_names_all_places():
    vehicle = {"terminal_id": 7, "name": "MAN"}
    body = json.dumps(
        {
            "id": 1,
            "name": "all",
            "objects": [vehicle, {"terminal_id": 8}],
            "children": [{"id": 2, "name": "b", "objects": [vehicle]}],
        }
    ).encode()
    places = Places(body, lambda text: omnicomm("vehicle_tree", "omnicomm.vehicle", text, Asked("a", "_fleet", None)))
    place = places.of(0)
    assert object_of(body, place) == vehicle
    ((start, end),) = place.elsewhere
    assert json.loads(body[start:end]) == vehicle
    assert start > place.end
    assert (place.added, place.around) == (("_group_ids", "_group_names"), (0, len(body)))
    assert places.of(1).elsewhere == ()


@pytest.mark.parametrize("body", [b"[1,2]", b"[null]", b"[]"])
def test_what_is_no_object_has_no_place(body):
    places = Places(body, ROWS.decode)
    assert [places.of(index) for index in range(3)] == [None, None, None]
