"""Where things are, read from the environment."""

from __future__ import annotations

import pytest
from fleetlake.errors import ConfigError
from fleetlake.settings import Settings


def test_stores_are_below_home_or_where_the_environment_says() -> None:
    settings = Settings.from_env({"FLEETLAKE_HOME": "/srv/fleet", "FLEETLAKE_RAW_URL": "s3://bucket/raw"})
    assert (settings.lake_url, settings.raw_url) == ("/srv/fleet/lake", "s3://bucket/raw")


@pytest.mark.parametrize("name", ["FLEETLAKE_RAW_URL", "FLEETLAKE_LAKE_URL"])
def test_a_credential_in_the_url_of_a_store_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(ConfigError, match="AWS_SECRET_ACCESS_KEY") as error:
        Settings.from_env({name: "s3://AKIA1:very-secret@bucket/raw"})
    assert error.value.where == name
    assert "very-secret" not in str(error.value)
