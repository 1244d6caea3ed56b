"""The provider's metadata and the connection forms, as Airflow sees them."""

from __future__ import annotations

import importlib.metadata
import json
from importlib import import_module
from pathlib import Path

import airflow
import jsonschema
import pytest
from airflow.providers_manager import ProvidersManager
from fleetlake.accounts import load_accounts
from fleetlake.hooks import hook_for
from fleetlake.provider_info import get_provider_info

AIRFLOW = Path(airflow.__file__).parent
INFO = get_provider_info()
FORMS = {form["connection-type"]: form for form in INFO["connection-types"]}
ROOT = Path(__file__).resolve().parents[2]


def test_the_metadata_follow_airflows_schema():
    jsonschema.validate(INFO, json.loads((AIRFLOW / "provider_info.schema.json").read_text()))


def test_the_forms_follow_the_schema_that_knows_their_fields():
    # provider_info.schema.json lets a misspelt conn-fields pass; this one does not.
    schema = json.loads((AIRFLOW / "provider.yaml.schema.json").read_text())["properties"]["connection-types"]
    schema["items"]["additionalProperties"] = False
    jsonschema.validate(INFO["connection-types"], schema)


def test_the_package_is_the_installed_distribution():
    assert importlib.metadata.distribution(INFO["package-name"]).metadata["Name"] == "fleetlake"


def test_airflow_lists_fleetlake_and_its_connection_types():
    manager = ProvidersManager()
    assert "fleetlake" in manager.providers
    for conn_type, form in FORMS.items():
        hook = manager.hooks[conn_type]
        assert hook.hook_class_name == form["hook-class-name"]
        assert hook.hook_name == form["hook-name"]
        assert hook.package_name == "fleetlake"


@pytest.mark.parametrize("conn_type", sorted(FORMS))
def test_the_form_shows_each_field_and_hides_passwords(conn_type):
    form = FORMS[conn_type]
    manager = ProvidersManager()
    widgets = {
        name.removeprefix(f"extra__{conn_type}__"): widget.field
        for name, widget in manager.connection_form_widgets.items()
        if name.startswith(f"extra__{conn_type}__")
    }
    assert set(widgets) == set(form["conn-fields"])
    behaviour = manager.field_behaviours[conn_type]
    assert behaviour["hidden_fields"] == form["ui-field-behaviour"]["hidden-fields"]
    assert behaviour["relabeling"]["host"] == "Base URL"
    assert behaviour["placeholders"]["host"].startswith("https://")
    for name, field in form["conn-fields"].items():
        is_secret = any(word in name for word in ("token", "pem", "password", "secret"))
        assert (field["schema"].get("format") == "password") == is_secret, name


@pytest.mark.parametrize("conn_type", sorted(FORMS))
def test_every_field_of_the_form_is_a_setting_of_the_vendors_room(conn_type):
    import dataclasses

    config = import_module(f"fleetlake.vendors.{conn_type}.config")
    [kind] = [
        item for item in vars(config).values() if dataclasses.is_dataclass(item) and item.__module__ == config.__name__
    ]
    settings = {field.name: field for field in dataclasses.fields(kind)}
    for name, field in FORMS[conn_type]["conn-fields"].items():
        if name in ("certificate_pem", "private_key_pem"):
            continue  # the hook turns them into cert and key
        assert name in settings
        if "default" in field["schema"]:
            assert field["schema"]["default"] == settings[name].default, f"the form shows another default for {name}"


@pytest.mark.parametrize("conn_type", sorted(FORMS))
def test_the_hook_says_the_same_as_its_form(conn_type):
    form = FORMS[conn_type]
    module, _, name = form["hook-class-name"].rpartition(".")
    hook = getattr(import_module(module), name)
    assert (hook.conn_type, hook.hook_name) == (conn_type, form["hook-name"])
    assert hook.default_conn_name == f"{conn_type}_default"
    assert hook(**{hook.conn_name_attr: "some_conn"}).conn_id == "some_conn"


def test_every_account_finds_its_hook():
    for account in load_accounts(ROOT / "include"):
        hook = hook_for(account)
        assert (hook.conn_type, hook.conn_id) == (account.vendor, account.conn_id)
