"""What people get wrong: each time the error says what, where and how to mend it, and names no secret."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import yaml
from fleetlake import embedded
from fleetlake.errors import (
    ConfigError,
    ContractError,
    CredentialsRejected,
    Fatal,
    StoreUnavailable,
    UnknownVehicle,
    UnsupportedVersion,
)
from fleetlake.pipeline import Pipeline
from fleetlake.vendors.powunity.client import PowUnityClient
from fleetlake.vendors.powunity.config import PowUnityConfig
from fleetlake.vendors.powunity.source import PowUnitySource
from fleetlake.vendors.rcs.client import RcsClient
from fleetlake.vendors.rcs.config import RcsConfig
from fleetlake.vendors.rcs.source import RcsSource

DAY = "2026-11-20"


def plan(place, vendor, factory=None, **changes):
    run = place.run(vendor, DAY, **changes)
    sources = {"rcs": place.rcs_source, "powunity": place.powunity_source}
    with Pipeline(place.settings, place.accounts[vendor], factory or sources[vendor]) as pipeline:
        return pipeline.plan(run, entity_feed="vehicles" if vendor == "rcs" else "devices", feeds=["telemetry"])


def rcs(place, **changes):
    pair = place.sandbox.pki.pair("client")
    fields = {
        "base_url": place.sandbox.urls["rcs"],
        "cert": str(pair.cert),
        "key": str(pair.key),
        "ca": str(place.sandbox.pki.ca),
    }
    return lambda: RcsSource(RcsClient(RcsConfig(**{**fields, **changes})))


def test_wrong_password(place):
    config = PowUnityConfig(base_url=place.sandbox.urls["powunity"], email="north@bikes.example", password="canary-secret")
    with pytest.raises(CredentialsRejected) as caught:
        plan(place, "powunity", lambda: PowUnitySource(PowUnityClient(config)))
    text = str(caught.value)
    assert "canary-secret" not in text
    assert "password" in text
    assert len(place.sandbox.log("powunity")) <= 2, "never a loop of logins"


def test_missing_certificate(place):
    with pytest.raises(CredentialsRejected, match="certificate"):
        plan(place, "rcs", rcs(place, cert=None, key=None))


def test_certificate_file_that_is_not_there(place):
    with pytest.raises(ConfigError, match=r"/nowhere/client.pem"):
        plan(place, "rcs", rcs(place, cert="/nowhere/client.pem"))


def test_unsupported_api_version(place):
    with pytest.raises(UnsupportedVersion, match=r"UNSUPPORTED_VERSION supported: 1\.3.*api_version") as caught:
        plan(place, "rcs", rcs(place, api_version="9.0"))
    assert caught.value.remedy


def test_unknown_vehicle_in_params(place):
    with pytest.raises(UnknownVehicle, match=r"no vehicle 'WVW0'.*params.vehicles") as caught:
        plan(place, "rcs", vehicles=("WVW0",))
    assert caught.value.remedy


def test_warehouse_down(place, tmp_path):
    url = embedded.url(tmp_path / "nothing-runs-here", "warehouse")
    place.settings = replace(place.settings, warehouse_url=url)
    with pytest.raises(StoreUnavailable, match="warehouse") as caught:
        plan(place, "rcs")
    assert caught.value.remedy


def test_warehouse_not_configured(place):
    place.settings = replace(place.settings, warehouse_url=None)
    with pytest.raises(ConfigError, match=r"FLEETLAKE_WAREHOUSE_URL.*make up"):
        plan(place, "rcs")


def test_contract_with_a_wrong_type(place, tmp_path):
    include = tmp_path / "include"
    shutil.copytree(place.settings.include, include)
    path = include / "contracts/rcs/telemetry.yaml"
    data = yaml.safe_load(path.read_text())
    data["schema"][0]["properties"][7]["physicalType"] = "double precison"
    path.write_text(yaml.safe_dump(data))
    place.settings = replace(place.settings, include=include)
    with pytest.raises(ContractError, match=r"telemetry.yaml: \w+.*did you mean 'double precision'"):
        plan(place, "rcs")


def test_contract_whose_type_differs_from_the_table(place, tmp_path):
    plan(place, "rcs")
    include = tmp_path / "include"
    shutil.copytree(place.settings.include, include)
    path = include / "contracts/rcs/vehicle.yaml"
    data = yaml.safe_load(path.read_text())
    year = next(item for item in data["schema"][0]["properties"] if item["name"] == "model_year")
    year["physicalType"] = "bigint"
    path.write_text(yaml.safe_dump(data))
    place.settings = replace(place.settings, include=include)
    with pytest.raises(ContractError, match=r"model_year.*integer"):
        plan(place, "rcs")


def test_feed_that_does_not_exist(place):
    with place.pipeline("rcs") as pipeline, pytest.raises(ConfigError, match="did you mean 'telemetry'"):
        pipeline.load(place.run("rcs", DAY), feeds=["telemetri"], scopes=["x"])


def test_all_of_these_are_errors_a_retry_cannot_mend():
    assert all(
        issubclass(error, Fatal) for error in (CredentialsRejected, UnsupportedVersion, UnknownVehicle, ContractError)
    )
