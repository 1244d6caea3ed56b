from __future__ import annotations

import pytest
from fleetlake.accounts import load_accounts
from fleetlake.errors import ConfigError


def accounts(tmp_path, text):
    (tmp_path / "accounts.yaml").write_text(text)
    return load_accounts(tmp_path)


def test_first_account_of_a_vendor_has_the_plain_dag_id(tmp_path):
    text = "accounts:\n- {name: north, vendor: powunity}\n- {name: south, vendor: powunity, conn_id: powunity_south}\n"
    north, south = accounts(tmp_path, text)
    assert (north.dag_id("powunity_trips"), north.pool) == ("powunity_trips", "powunity_default_api")
    assert (south.dag_id("powunity_trips"), south.pool) == ("powunity_trips__south", "powunity_south_api")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accounts: []", "no accounts"),
        ("accounts: [{vendor: rcs}]", r"accounts\[0\].*lower-case"),
        ("accounts: [{name: a, vendor: rcs, pool_slot: 2}]", "did you mean 'pool_slots'"),
        ("accounts: [{name: a, vendor: rcs, pool_slots: 0}]", "pool_slots is 0"),
        ("accounts: [{name: a, vendor: rcs}, {name: a, vendor: rcs}]", "listed twice"),
        ("accounts: [", "not YAML"),
    ],
)
def test_wrong_entry_is_named_with_its_remedy(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        accounts(tmp_path, text)


def test_missing_file_is_a_clear_error(tmp_path):
    with pytest.raises(ConfigError, match="missing"):
        load_accounts(tmp_path)
