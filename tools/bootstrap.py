"""Makes ``.venv`` with the standard library alone and installs the given requirement files with uv."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

UV = "uv==0.13.9"
ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"

# A mirror set up for pip must serve uv too: pip's setting -> uv's variable.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}
# Test suites of libraries: a fifth of all code, and nobody imports them.
NOT_COMPILED = r"/tests?/|/testing/"


def main(requirements: list[str]) -> int:
    """Install; returns the exit status."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONDONTWRITEBYTECODE", "PYTHONHOME")}
    env["VIRTUAL_ENV"] = str(VENV)
    started = time.monotonic()
    if not is_ours():
        say(f"making .venv with Python {sys.version.split()[0]}")
        venv.EnvBuilder(clear=True, with_pip=True, symlinks=True).create(VENV)
        (VENV / "place").write_text(f"{ROOT}\n")
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    run([*pip, "install", "--quiet", UV], env)
    config = subprocess.run([*pip, "config", "list"], env=env, text=True, capture_output=True, check=False)
    env |= uv_settings(config.stdout, env)
    say("installing " + " and ".join(requirements))
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(PYTHON), "--no-deps"]
    run([*uv, *(part for name in requirements for part in ("-r", str(ROOT / name)))], env)
    say("compiling bytecode")
    site = next((VENV / "lib").glob("python*/site-packages"))
    compileall = [str(PYTHON), "-m", "compileall", "-qq", "-j", "0", "-x", NOT_COMPILED, str(site), str(ROOT / "plugins")]
    subprocess.run(compileall, env=env, check=False)  # a library's broken template file is not our failure
    say(f"installed in {time.monotonic() - started:.0f} s")
    return 0


def is_ours() -> bool:
    """``.venv`` is whole, was made here, and its Python is still there and supported."""
    place = VENV / "place"
    if not place.is_file() or place.read_text().strip() != str(ROOT):
        return False
    check = "import sys, pip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"
    works = [str(PYTHON), "-c", check]
    return PYTHON.exists() and subprocess.run(works, capture_output=True, check=False).returncode == 0


def uv_settings(pip_config: str, env: dict[str, str]) -> dict[str, str]:
    """What uv needs to know of what ``pip config list`` prints. What is set for uv already stays."""
    found: dict[str, str] = {}
    # Later lines win: the environment last, as in pip.
    for line in sorted(pip_config.splitlines(), key=lambda line: line.startswith(":env:")):
        key, _, value = line.partition("=")
        name = PIP_TO_UV.get(key.rpartition(".")[2].strip())
        if name:
            found[name] = " ".join(str(ast.literal_eval(value)).split())
    if "UV_INDEX" in found:  # pip takes the best match of all indexes; uv would stop at the first that knows the name
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return {name: value for name, value in found.items() if name not in env}


def run(command: list[str], env: dict[str, str]) -> None:
    """Run, or stop with the command that failed."""
    result = subprocess.run(command, env=env, check=False)
    if result.returncode:
        say(f"failed with status {result.returncode}: {' '.join(command)}")
        say("a package mirror can be set with PIP_INDEX_URL; run the same make target again to go on")
        raise SystemExit(1)


def say(text: str) -> None:
    """One line of progress."""
    print(f"bootstrap: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
