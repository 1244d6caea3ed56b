"""What Airflow's provider manager learns about fleetlake: connection types and their forms, declared as data."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Provider metadata; Airflow reads it on every start, so nothing is imported here."""
    return {
        "package-name": "fleetlake",
        "name": "fleetlake",
        "description": "Telematics vendors into a Parquet lake and a PostgreSQL warehouse",
    }
