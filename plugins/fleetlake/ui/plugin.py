"""The Airflow plugin: named by the entry point `airflow.plugins`, loaded by every Airflow process."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

QUALITY_PREFIX = "/fleetlake/quality"


class FleetlakePlugin(AirflowPlugin):
    """Adds Browse → Data quality: the pages that every load writes about its rows."""

    name = "fleetlake"
    external_views = [  # noqa: RUF012 - the form Airflow reads
        {
            "name": "Data quality",
            "href": f"{QUALITY_PREFIX.removeprefix('/')}/",  # relative to Airflow's own address, whatever its path
            "destination": "nav",
            "category": "browse",
            "url_route": "data-quality",
        }
    ]

    @property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """Read by the API server only; a worker that loads this plugin must not import the web framework."""
        from fleetlake.ui.quality_pages import quality_app

        return [{"app": quality_app(), "url_prefix": QUALITY_PREFIX, "name": "fleetlake data quality"}]
