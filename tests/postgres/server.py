"""A real Postgres for tests: Debian's, on a free port, in a temporary directory, as a user who is not root."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.ports import HeldPort

SUPERUSER = "asyncsdk_tests"
_USERS = ("postgres", "nobody")  # one of whom runs it, where the tests are run by root


class NoPostgresError(Exception):
    """Why there is none here."""


def binaries() -> Path:
    """The directory of the newest Postgres here. Raises NoPostgresError."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise NoPostgresError("no Postgres here (apt-get install postgresql)")
    return Path(on_path).resolve().parent


def unprivileged() -> dict[str, Any]:
    """As whom to start it: arguments of Popen. Raises NoPostgresError."""
    if os.getuid() != 0:
        return {}
    for name in _USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise NoPostgresError("Postgres does not run as root, and there is no other user here")


@define(eq=False)
class PostgresServer:
    """One server; each test makes databases of its own in it."""

    directory: Path
    password: str = field(factory=lambda: secrets.token_hex(16))
    settings: dict[str, str] = field(factory=dict)
    database: str = field(default="", init=False)  # which tests share, one after the other
    _port: HeldPort = field(factory=HeldPort, init=False)  # its own also while it is stopped
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def port(self) -> int:
        return self._port.number

    def initialise(self) -> None:
        secret = self.directory / "password"
        secret.write_text(self.password)
        _own(secret)
        self.run("initdb", "-D", str(self.data), "-U", SUPERUSER, f"--pwfile={secret}", "--auth=scram-sha-256",
                 "--no-sync", "--encoding=UTF8", "--locale=C")  # fmt: skip
        secret.unlink()

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(binaries() / program), *arguments],
            capture_output=True, text=True, cwd=self.directory, check=False, **unprivileged(),
        )  # fmt: skip
        if done.returncode:
            raise NoPostgresError(f"{program} failed: {done.stderr.strip()}")

    def start(self) -> None:
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": str(self.directory),
            "fsync": "off", "max_connections": "40", "shared_buffers": "16MB", **self.settings,
        }  # fmt: skip
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        log = (self.directory / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [str(binaries() / "postgres"), "-D", str(self.data), *options],
                stdout=log, stderr=log, cwd=self.directory, **unprivileged(),
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NoPostgresError(f"it does not start: {self.log()[-500:]}")
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it: SIGQUIT is what Postgres calls immediate, as if the power went."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def close(self) -> None:
        """Stop it for good."""
        self.stop(signal.SIGINT)
        self._port.close()

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def url(self, database: str = "postgres", *, user: str = SUPERUSER, password: str | None = None) -> str:
        word = self.password if password is None else password
        return f"postgresql://{user}:{word}@127.0.0.1:{self.port}/{database}"

    def sql(self, *statements: str, database: str = "postgres") -> str:
        """What psql prints, a value in a line, without headings."""
        commands = [word for each in statements for word in ("-c", each)]
        done = subprocess.run(
            [str(binaries() / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", self.url(database, password=""), *commands],
            capture_output=True, text=True, check=False, env={**os.environ, "PGPASSWORD": self.password},
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(done.stderr)
        return done.stdout.strip()

    def new_database(self) -> str:
        name = f"t_{secrets.token_hex(6)}"
        self.sql(f"create database {name} template template0 strategy file_copy")
        return name

    def _answers(self) -> bool:
        ready = [str(binaries() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0


@contextmanager
def running(**settings: str) -> Iterator[PostgresServer]:
    """Make a server, with these settings, and leave nothing of it. Raises NoPostgresError where there can't be one."""
    binaries()
    unprivileged()
    directory = Path(tempfile.mkdtemp(prefix="asyncsdk-postgres-", dir="/tmp"))  # pytest's own is closed to others
    server = PostgresServer(directory, settings=settings)
    try:
        _own(directory)
        server.initialise()
        server.start()
        yield server
    finally:
        server.close()
        shutil.rmtree(directory, ignore_errors=True)


def _own(path: Path) -> None:
    user = unprivileged()
    if user:
        os.chown(path, user["user"], user["group"])
