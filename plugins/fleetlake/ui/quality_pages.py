"""Serves the data quality pages to people who are logged in to Airflow."""

from __future__ import annotations

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import FileResponse

from fleetlake.settings import Settings

_HEADERS = {
    # The pages carry their style and have no scripts; values of a vendor stay text, whatever they hold.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}


def quality_app() -> FastAPI:
    """The pages below the settings' ``data_docs``: HTML only, nothing outside that folder."""
    root = Settings.from_env().data_docs.resolve()
    # Airflow leaves a plugin's addresses open to everybody: each must ask for itself.
    app = FastAPI(
        title="fleetlake data quality",
        openapi_url=None,
        dependencies=[Depends(requires_access_view(AccessView.WEBSITE))],
    )

    @app.get("/{path:path}")
    def page(path: str) -> FileResponse:
        file = (root / (path or "index.html")).resolve()
        if file.suffix != ".html" or not file.is_relative_to(root) or not file.is_file():
            raise HTTPException(404, "There is no such page. The first load of a table writes its pages.")
        return FileResponse(file, media_type="text/html; charset=utf-8", headers=_HEADERS)

    return app
