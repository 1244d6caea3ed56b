"""How a fresh machine gets its environment; the installation itself runs wherever these tests run."""

from __future__ import annotations

import importlib.util
import os
import stat
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parents[3] / "tools"


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", TOOLS / "bootstrap.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_mirror_set_for_pip_serves_uv_and_the_environment_wins(bootstrap: ModuleType) -> None:
    config = "\n".join(
        [
            ":env:.index-url='https://env.example/simple'",
            "global.index-url='https://file.example/simple'",
            "global.extra-index-url='https://a.example/simple\\nhttps://b.example/simple'",
            "install.find-links='/wheels'",
            "global.trusted-host='a.example'",
            "global.no-color='1'",
        ]
    )
    assert bootstrap.uv_settings(config, {}) == {
        "UV_DEFAULT_INDEX": "https://env.example/simple",
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/wheels",
        "UV_INSECURE_HOST": "a.example",
    }


def test_what_is_set_for_uv_stays(bootstrap: ModuleType) -> None:
    assert bootstrap.uv_settings("global.index-url='https://pip.example'", {"UV_DEFAULT_INDEX": "https://uv.example"}) == {}


def fake_python(folder: Path, name: str, status: int) -> None:
    path = folder / name
    path.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit {status}\necho "{name} $*"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def run(path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = ["/bin/sh", str(TOOLS / "bootstrap.sh"), "requirements.txt"]
    return subprocess.run(command, env={"PATH": f"{path}:{os.defpath}", **env}, text=True, capture_output=True, check=False)


def test_unsuitable_pythons_are_passed_over(tmp_path: Path) -> None:
    for name, status in (("python3.13", 1), ("python3.12", 0), ("python3.11", 0)):
        fake_python(tmp_path, name, status)
    result = run(tmp_path)
    assert result.stdout.startswith("python3.12 ")
    assert result.stdout.rstrip().endswith("bootstrap.py requirements.txt")


def test_no_suitable_python_says_what_to_do(tmp_path: Path) -> None:
    fake_python(tmp_path, "old", 1)
    result = run(tmp_path, PYTHON="old")
    assert result.returncode == 1
    assert "Python 3.11, 3.12 or 3.13" in result.stderr
    assert "make PYTHON=" in result.stderr
