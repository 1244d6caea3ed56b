"""How long the model waits for the end of a run."""

from __future__ import annotations

import pytest
from fleetlake.errors import ConfigError
from fleetlake.settings import Settings


@pytest.mark.parametrize(("text", "hours"), [(None, 6), ("", 6), ("0", 0), ("1.5", 1.5)])
def test_the_model_waits_six_hours_or_as_told(text: str | None, hours: float) -> None:
    env = {} if text is None else {"FLEETLAKE_MODEL_PATIENCE_H": text}
    assert Settings.from_env(env).model_patience_h == hours


@pytest.mark.parametrize("text", ["soon", "-1", "6h"])
def test_a_patience_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no number of hours") as caught:
        Settings.from_env({"FLEETLAKE_MODEL_PATIENCE_H": text})
    assert caught.value.where == "FLEETLAKE_MODEL_PATIENCE_H"
