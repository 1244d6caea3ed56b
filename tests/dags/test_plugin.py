"""The data quality pages in Airflow's own web server: who may see them, and nothing but them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

URL = "/fleetlake/quality"


@pytest.fixture(scope="module")
def pages(airflow_db) -> Path:
    folder = Path(os.environ["FLEETLAKE_HOME"]) / "data_docs"
    (folder / "pages" / "rcs.vehicle").mkdir(parents=True)
    (folder / "results").mkdir()
    (folder / "index.html").write_text("<h1>All tables</h1>")
    (folder / "pages" / "rcs.vehicle" / "day.html").write_text("<h1>One load</h1>")
    (folder / "results" / "day.json").write_text('{"rows": "canary"}')
    (folder.parent / "secret.html").write_text("canary")
    (folder / "link.html").symlink_to(folder.parent / "secret.html")
    return folder


@pytest.fixture(scope="module")
def server(pages):
    from airflow.api_fastapi.app import create_app

    return create_app()


@pytest.fixture
def client(server):
    """A browser; `role` logs it in, `None` does not."""

    def make(role: str | None) -> TestClient:
        from airflow.api_fastapi.app import get_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

        browser = TestClient(server)
        if role:
            token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="somebody", role=role))
            browser.headers["Authorization"] = f"Bearer {token}"
        return browser

    return make


@pytest.mark.parametrize("path", ["/", "/index.html", "/pages/rcs.vehicle/day.html", "/no-such-page.html", "/docs"])
def test_nobody_sees_anything_without_login(client, path):
    answer = client(None).get(URL + path)
    assert answer.status_code == 401
    assert "<h1>" not in answer.text


@pytest.mark.parametrize("role", ["viewer", "user", "op", "admin"])
def test_every_role_may_read(client, role):
    browser = client(role)
    assert browser.get(f"{URL}/").text == "<h1>All tables</h1>"
    answer = browser.get(f"{URL}/pages/rcs.vehicle/day.html")
    assert (answer.status_code, answer.text) == (200, "<h1>One load</h1>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/results/day.json",
        "/../secret.html",
        "/%2e%2e/secret.html",
        "/pages/..%2f..%2fsecret.html",
        "/link.html",
        "//etc/passwd",
    ],
)
def test_nothing_but_the_pages_is_served(client, path):
    answer = client("admin").get(URL + path)
    assert "canary" not in answer.text
    assert "root:" not in answer.text
    assert answer.status_code in (404, 200)
    assert answer.status_code == 404 or "<h1>" not in answer.text


def test_the_menu_leads_to_the_pages(client):
    from airflow import plugins_manager

    [plugin] = [plugin for plugin in plugins_manager._get_plugins()[0] if plugin.name == "fleetlake"]
    [view] = plugin.external_views
    assert not view["href"].startswith("/")
    assert client("viewer").get(f"/{view['href']}").text == "<h1>All tables</h1>"


def test_loading_the_plugin_imports_no_web_framework():
    import subprocess
    import sys

    check = "import sys, fleetlake.ui.plugin; sys.exit('fastapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
