from __future__ import annotations

from typing import Any

import pytest
from fleetlake.accounts import Account
from fleetlake.errors import ConfigError
from fleetlake.stack.airflow_api import pools
from fleetlake.stack.connections import sandbox_connections

RCS = Account(name="main", vendor="rcs", conn_id="rcs_default", pool_slots=3)
NORTH = Account(name="north", vendor="powunity", conn_id="powunity_default")
SOUTH = Account(name="south", vendor="powunity", conn_id="powunity_south", is_first=False)
SANDBOX: dict[str, Any] = {
    "urls": {"rcs": "https://127.0.0.1:1", "powunity": "http://127.0.0.1:2/api", "control": "http://127.0.0.1:3"},
    "customers": {
        "rcs": {"fleet": {"cert": "/c.pem", "key": "/c.key", "ca": "/ca.pem"}},
        "powunity": {
            "south": {"email": "s@x", "password": "ps", "token": "ts"},
            "north": {"email": "n@x", "password": "pn", "token": "tn"},
        },
    },
    "pace": {"rcs": {}, "powunity": {"rate_per_s": 20}},
}


def test_each_account_gets_the_customer_of_its_name() -> None:
    connections = sandbox_connections([NORTH, SOUTH], SANDBOX)
    assert connections["powunity_default"] == {
        "conn_type": "powunity",
        "host": "http://127.0.0.1:2/api",
        "login": "n@x",
        "password": "pn",
        "description": "sandbox customer north",
        "extra": {"token": "tn", "rate_per_s": 20},
    }
    assert connections["powunity_south"]["login"] == "s@x"


def test_account_of_another_name_gets_the_customer_at_its_place() -> None:
    fields = sandbox_connections([NORTH, RCS], SANDBOX)["rcs_default"]
    assert fields["host"] == "https://127.0.0.1:1"
    assert fields["extra"] == {"cert": "/c.pem", "key": "/c.key", "ca": "/ca.pem"}
    assert "password" not in fields


def test_nothing_extra_is_left_out() -> None:
    sandbox = {"urls": {"omnicomm": "http://h"}, "customers": {"omnicomm": {"trucks": {"login": "l", "password": "p"}}}}
    trucks = Account(name="trucks", vendor="omnicomm", conn_id="omnicomm_default")
    assert sandbox_connections([trucks], sandbox)["omnicomm_default"] == {
        "conn_type": "omnicomm",
        "host": "http://h",
        "login": "l",
        "password": "p",
        "description": "sandbox customer trucks",
    }


def test_more_accounts_than_customers_is_said_with_the_way_out() -> None:
    second = Account(name="second", vendor="rcs", conn_id="rcs_second", is_first=False)
    with pytest.raises(ConfigError, match="no customer for account 'second'") as error:
        sandbox_connections([RCS, second], SANDBOX)
    assert "--no-sandbox" in str(error.value)


def test_accounts_that_share_a_connection_share_its_pool() -> None:
    twin = Account(name="twin", vendor="rcs", conn_id="rcs_default", pool_slots=3)
    assert list(pools([RCS, NORTH, twin])) == [
        {"name": "rcs_default_api", "slots": 3, "description": "requests to the rcs account twin", "include_deferred": True},
        {
            "name": "powunity_default_api",
            "slots": 4,
            "description": "requests to the powunity account north",
            "include_deferred": True,
        },
    ]
