"""What Airflow's provider manager learns about fleetlake: connection types and their forms, declared as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_HOOKS = Path(__file__).parent / "hooks"


def get_provider_info() -> dict[str, Any]:
    """Provider metadata: the YAML file beside each hook is its connection type.

    Airflow calls this on every start, so nothing of ours is imported here.
    """
    return {
        "package-name": "fleetlake",
        "name": "fleetlake",
        "description": "Telematics vendors into a Parquet lake and a PostgreSQL warehouse",
        "connection-types": [yaml.safe_load(path.read_text()) for path in sorted(_HOOKS.glob("*.yaml"))],
        "asset-uris": [{"schemes": ["fleetlake"], "handler": None}],
    }
