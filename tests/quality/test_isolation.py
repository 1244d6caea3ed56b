"""Great Expectations stays in its room: lazily imported, offline, without files of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path


def run(code: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_importing_the_room_does_not_import_great_expectations() -> None:
    code = """
        import sys
        import fleetlake.quality
        heavy = {"great_expectations", "pandas", "pyarrow", "scipy", "sqlalchemy", "jinja2"} & set(sys.modules)
        assert not heavy, heavy
    """
    run(code)


def test_audit_and_docs_connect_nowhere_and_write_only_below_their_folder(tmp_path: Path) -> None:
    home, work, pages = (tmp_path / name for name in ("home", "work", "pages"))
    for folder in (home, work):
        folder.mkdir()
    code = f"""
        import os, sys
        os.environ["HOME"] = {str(home)!r}
        os.chdir({str(work)!r})
        sockets, writes = [], []

        def watch(event, args):
            # urllib3 binds a port of ::1 when it is imported, to see whether there is IPv6; that sends nothing.
            if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
                sockets.append((event, args[1:]))
            if event == "open" and isinstance(args[0], str) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                writes.append(args[0])

        sys.addaudithook(watch)
        from pathlib import Path
        import pyarrow as pa
        from fleetlake.contracts import Column, Contract
        from fleetlake.quality import audit, build_docs
        from fleetlake.reading import Kind
        from fleetlake.window import Window

        columns = (Column(name="id", type="bigint", description="Id.", is_key=True, required=True),)
        contract = Contract(vendor="v", name="t", version="1", description="x", feed="f", kind=Kind.WINDOW, columns=columns)
        audit(contract, pa.table({{"id": [1, 1]}}), window=Window.day("2026-11-20"), known_values={{}}, load_id="l",
              docs_dir=Path({str(pages)!r}), account="north")
        build_docs(Path({str(pages)!r}))
        written = [path for path in writes if os.path.exists(path)]  # tempfile tries out where it may write
        outside = [path for path in written if not path.startswith(({str(pages)!r}, "/dev/")) and "__pycache__" not in path]
        assert not sockets, sockets
        assert not outside, outside
    """
    output = run(code)
    assert output == ""  # no progress bars, no chatter
    assert not list(home.iterdir())
    assert not list(work.iterdir())
    assert (pages / "index.html").is_file()
