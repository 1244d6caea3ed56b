from __future__ import annotations

import pytest
from fleetlake.raw import RawStore


@pytest.fixture
def raw(tmp_path):
    return RawStore(str(tmp_path / "raw"))
