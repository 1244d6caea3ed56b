"""docker-compose.yaml says what it should; that its commands work is shown by tests/e2e/test_production.py."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
SECRETS = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "ADMIN_PASSWORD", "FERNET_KEY", "JWT_SECRET", "API_SECRET")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yaml").read_text())


def config(folder: Path, **values: str) -> subprocess.CompletedProcess[str]:
    """What docker-compose makes of the file; no engine is needed for that."""
    shutil.copy(ROOT / "docker-compose.yaml", folder)
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    command = [*compose_command(), "--project-name", "fleetlake", "--profile", "sandbox", "config"]
    env = {"PATH": os.environ["PATH"]}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=env)


def compose_command() -> list[str]:
    """The stand-alone program or Docker's plugin, whichever is here."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    plugin = ["docker", "compose"]
    if not shutil.which("docker") or subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode:
        pytest.skip("neither docker-compose nor docker compose is installed")
    return plugin


def test_docker_compose_accepts_it(tmp_path: Path) -> None:
    done = config(tmp_path, **{name: f"value-of-{name.lower()}" for name in SECRETS})
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert services["worker"]["environment"]["AIRFLOW__CORE__FERNET_KEY"] == "value-of-fernet_key"
    assert services["worker"]["environment"]["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"


@pytest.mark.parametrize("missing", SECRETS)
def test_there_is_no_default_password(tmp_path: Path, missing: str) -> None:
    done = config(tmp_path, **{name: "x" for name in SECRETS if name != missing})
    assert done.returncode != 0
    assert missing in done.stderr
    assert ".env.example" in done.stderr


def test_the_example_names_every_variable_that_has_no_default(compose: dict[str, Any]) -> None:
    example = (ROOT / ".env.example").read_text()
    required = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yaml").read_text()))
    assert required == set(SECRETS)
    for name in required:
        assert re.search(rf"^{name}=$", example, re.MULTILINE), name


def test_only_the_api_server_can_be_reached_and_only_from_this_machine(compose: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert list(ports) == ["api-server"]
    assert all(entry.startswith("127.0.0.1:") for entry in ports["api-server"])


def test_every_long_running_service_restarts_and_is_watched(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name.endswith("-init"):
            assert service["restart"] == "no", name
        else:
            assert service["restart"] == "unless-stopped", name
            assert "healthcheck" in service or name == "sandbox", name


def test_nothing_starts_before_the_databases_are_prepared(compose: dict[str, Any]) -> None:
    for name in ("api-server", "scheduler", "dag-processor", "triggerer", "worker"):
        needs = compose["services"][name]["depends_on"]
        assert needs["airflow-init"] == {"condition": "service_completed_successfully"}
        assert needs["redis"] == {"condition": "service_healthy"}


def test_volumes_are_those_the_image_prepares_for_its_user(compose: dict[str, Any]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER (?!root)\w+$", dockerfile, re.MULTILINE)
    made = re.findall(r"/(?:opt/fleetlake|data|sandbox)\S*", dockerfile.split("mkdir -p", 1)[1].split("&&", 1)[0])
    for entry in compose["x-fleetlake"]["volumes"]:
        name, _, place = entry.partition(":")
        assert name in compose["volumes"]
        assert any(place == folder or place.startswith(f"{folder}/") for folder in made), place


def test_the_image_copies_only_what_exists_and_no_secret() -> None:
    for line in re.findall(r"^COPY (?:--\S+ )*(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".env", ".fleetlake", ".git", ".venv"} <= set(ignored)
