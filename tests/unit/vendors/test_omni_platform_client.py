"""What answers mean and what settings allow; the client itself is tested against the simulated vendor."""

from __future__ import annotations

import datetime as dt
import json
import pickle
from typing import Any

import pytest
from fleetlake.errors import (
    AccessDenied,
    ConfigError,
    CredentialsRejected,
    FleetlakeError,
    MalformedAnswer,
    VendorUnavailable,
)
from fleetlake.http.answers import Answer
from fleetlake.vendors.omni_platform.client import EventsShape, OmniClient, _shape_of
from fleetlake.vendors.omni_platform.config import OmniConfig
from fleetlake.vendors.omni_platform.verdicts import SchemaRefused, judge_graphql

from tests.unit.http.conftest import listening, reply

TOKEN = "00000000-0000-4000-8000-0000000000aa"


def answer(body: Any, status: int = 200) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(
        status=status,
        headers={"content-type": "application/json"},
        body=content,
        request="POST /event-service/graphql",
        fetched_at=dt.datetime(2026, 11, 20, tzinfo=dt.UTC),
    )


def told(*messages: str, status: int = 200) -> FleetlakeError | None:
    return judge_graphql(answer({"errors": [{"message": one} for one in messages], "data": None}, status))


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Access denied", AccessDenied),
        ("You do not have permission to perform this action", AccessDenied),
        ("Signature: access token is invalid", AccessDenied),
        ("Authentication credentials were not provided", AccessDenied),
        ("Cannot query field 'activityId' on type 'Event'.", SchemaRefused),
        ('Unknown argument "pagination" on field "events"', SchemaRefused),
        ("Variable '$from' of type 'String!' used in position expecting type 'DateTime'.", SchemaRefused),
        ("GraphQL introspection is not allowed", SchemaRefused),
        ("Internal server error", MalformedAnswer),
        ("", MalformedAnswer),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_errors_are_told_apart_by_their_words(message: str, kind: type[FleetlakeError], status: int) -> None:
    assert type(told(message, status=status)) is kind


def test_a_right_that_is_missing_beside_a_schema_error_is_a_missing_right() -> None:
    assert isinstance(told("Cannot query field 'x'", "Access denied"), AccessDenied)


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"data": None}, 200, MalformedAnswer),
        ({}, 200, MalformedAnswer),
        ([], 200, MalformedAnswer),
        (b'{"data": {"events"', 200, MalformedAnswer),
        (b"", 200, MalformedAnswer),
        ({"errors": ["odd", 7]}, 200, MalformedAnswer),
        ({"detail": "no"}, 401, CredentialsRejected),
        ({"detail": "no"}, 403, AccessDenied),
        ({"errors": [{"message": "x"}]}, 502, VendorUnavailable),
        (b"<html>Bad Gateway</html>", 200, VendorUnavailable),
    ],
)
def test_an_answer_without_data_is_never_taken_for_an_empty_one(body: Any, status: int, kind: type[FleetlakeError]) -> None:
    assert isinstance(judge_graphql(answer(body, status)), kind)


def test_data_without_errors_passes() -> None:
    assert judge_graphql(answer({"data": {"events": {}}})) is None
    assert judge_graphql(answer({"data": {"events": {}}, "errors": []})) is None
    assert judge_graphql(answer({"data": {"me": {"errors": "a word in the data"}}})) is None


def test_partial_data_is_refused() -> None:
    body = {"data": {"events": {"totalCount": 0, "collectionItems": []}}, "errors": [{"message": "timeout in data"}]}
    assert isinstance(judge_graphql(answer(body)), MalformedAnswer)


def test_the_errors_survive_pickling() -> None:
    error = told("Cannot query field 'activityId'")
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, SchemaRefused)
    assert str(again) == str(error)


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ({}, EventsShape(None, False)),
        ({"data": {"__schema": None}}, EventsShape(None, False)),
        ({"data": {"__schema": {"queryType": {"fields": []}, "types": []}}}, EventsShape(None, False)),
    ],
)
def test_a_schema_that_tells_nothing_leaves_the_settings(body: Any, shape: EventsShape) -> None:
    assert _shape_of(body, in_order=False) == shape


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "'token' is missing"),
        ({"token": TOKEN, "personal_data": "hide"}, "mask or keep"),
        ({"token": TOKEN, "window_minutes": 90}, "1 to 60"),
        ({"token": TOKEN, "page_size": 0}, "at least 1"),
        ({"token": TOKEN, "event_path": "graphql"}, "begins with /"),
        ({"token": TOKEN, "pagesize": 10}, "did you mean 'page_size'"),
    ],
)
def test_a_wrong_setting_is_named(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text) as raised:
        OmniConfig.from_mapping(values)
    assert TOKEN not in str(raised.value)


def test_the_token_is_shown_nowhere() -> None:
    config = OmniConfig(token=TOKEN)
    assert TOKEN not in repr(config) + config.account_key
    assert config.redactor()(f"GET /?x={TOKEN}") == "GET /?x=***"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, json.dumps({"errors": [{"message": f"no data for Token: {TOKEN}, Authorization: {TOKEN}"}]})),
        (200, f"got {TOKEN}"),
        (403, f"got {TOKEN}"),
        (500, f"got {TOKEN}"),
    ],
)
def test_a_token_that_the_vendor_echoes_is_masked(status: int, body: str) -> None:
    with listening() as server:
        server.will(*[reply(status, body.encode())] * 3)
        client = OmniClient(OmniConfig(token=TOKEN, base_url=server.url, max_attempts=1))
        with pytest.raises(FleetlakeError) as raised:
            client.listed("cameras", offset=0, limit=1)
        client.close()
    assert TOKEN not in str(raised.value) + repr(raised.value.__dict__)
