from __future__ import annotations

import json
from pathlib import Path

import pytest
from fleetlake.errors import ConfigError
from fleetlake.settings import Settings
from fleetlake.stack.airflow_env import airflow_env
from fleetlake.stack.keys import Keys

DATABASE = "postgresql+psycopg2://postgres@/airflow?host=/x"
WAREHOUSE = "postgresql+psycopg://postgres@/warehouse?host=/x"


def env_of(home: Path) -> dict[str, str]:
    settings = Settings.from_env({"FLEETLAKE_HOME": str(home)})
    return airflow_env(settings, Keys.of(home), database_url=DATABASE, warehouse_url=WAREHOUSE, port=18080)


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    keys = Keys.of(tmp_path)
    assert Keys.of(tmp_path) == keys
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert keys.password not in repr(keys)
    assert Keys.of(tmp_path / "other") != keys


def test_damaged_keys_are_never_replaced_silently(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{")
    with pytest.raises(ConfigError, match="keys cannot be read"):
        Keys.of(tmp_path)
    assert (tmp_path / "keys.json").read_text() == "{"


def test_everything_listens_and_calls_on_loopback(tmp_path: Path) -> None:
    env = env_of(tmp_path)
    assert env["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert env["AIRFLOW__API__BASE_URL"] == "http://127.0.0.1:18080"
    assert env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:18080/execution/"
    assert "0.0.0.0" not in "".join(value for name, value in env.items() if name.startswith("AIRFLOW__"))


def test_nobody_is_admin_without_the_generated_password(tmp_path: Path) -> None:
    env = env_of(tmp_path)
    passwords = Path(env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    assert json.loads(passwords.read_text()) == {"admin": Keys.of(tmp_path).password}
    assert passwords.stat().st_mode & 0o777 == 0o600
    assert "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS" not in env


def test_another_airflows_settings_do_not_leak_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", "/elsewhere")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW__SMTP__SMTP_HOST", "mail")
    monkeypatch.setenv("AIRFLOW_CONN_RCS_REAL", "{}")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    env = env_of(tmp_path)
    assert env["AIRFLOW_HOME"] == str(tmp_path / "airflow")
    assert env["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert "AIRFLOW__SMTP__SMTP_HOST" not in env
    assert env["AIRFLOW_CONN_RCS_REAL"] == "{}"
    assert "PYTHONDONTWRITEBYTECODE" not in env


def test_a_proxy_does_not_get_between_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet")
    assert env_of(tmp_path)["no_proxy"] == "intranet,127.0.0.1,localhost"


def test_works_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    assert env_of(tmp_path)["HOME"] == str(tmp_path)


def test_tasks_find_the_same_stores(tmp_path: Path) -> None:
    env = env_of(tmp_path)
    settings = Settings.from_env(env)
    assert settings == Settings.from_env({"FLEETLAKE_HOME": str(tmp_path), "FLEETLAKE_WAREHOUSE_URL": WAREHOUSE})
