"""The four groups of errors are a promise: the retry policy and the CLI's exit status rest on them."""

from __future__ import annotations

import pickle

import pytest
from fleetlake import errors

GROUPS = {
    errors.Fatal: {
        "ConfigError",
        "ContractError",
        "NoWindow",
        "UnknownVehicle",
        "CredentialsRejected",
        "AccessDenied",
        "UnsupportedVersion",
    },
    errors.Retriable: {
        "VendorUnavailable",
        "RateLimited",
        "SessionExpired",
        "JobPending",
        "JobFailed",
        "StoreUnavailable",
        "StoreConflict",
    },
    errors.Skippable: {"ScopeUnavailable", "OutOfRetention"},
    errors.DataError: {"MalformedAnswer", "IncompleteAnswer", "CursorStuck", "BatchHeld"},
}
LEAVES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.FleetlakeError) and value not in (errors.FleetlakeError, *GROUPS)
]


def test_every_error_belongs_to_exactly_one_group():
    found = {group: {leaf.__name__ for leaf in LEAVES if issubclass(leaf, group)} for group in GROUPS}
    assert found == GROUPS


def test_every_error_is_drawn_in_the_module_docstring():
    assert [leaf.__name__ for leaf in LEAVES if leaf.__name__ not in (errors.__doc__ or "")] == []


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_error_survives_pickling_with_all_its_fields(leaf):
    error = leaf("what", where="here", remedy="do this")
    if isinstance(error, errors.Retriable):
        error.after(2.5)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is leaf
    assert str(copy) == str(error) == "what [here] → do this"
    assert vars(copy) == vars(error)
