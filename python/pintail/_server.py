"""A server of one's own, for tests and notebooks: the program `pintail serve` on free ports.

Runs on: a process beside this one, which ends with it.
Never: leaves a process or a temporary folder behind; serves to other machines.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ._binary import binary
from ._errors import ServerFailed

if TYPE_CHECKING:
    import adbc_driver_flightsql.dbapi as dbapi
    import pyarrow.flight as flight
    from typing_extensions import Self, Unpack

    from ._address import Credentials

# What of the log goes into an exception.
_LOG_BYTES_TOLD = 4096
_LISTENING = re.compile(r"listening on (grpc(?:\+tls)?://\S+)")


class Server:
    """A running `pintail serve`, until the end of the `with` block, of this object or of this process.

    >>> with Server() as server, server.connect() as connection:  # doctest: +SKIP
    ...     ...

    - `database`: a database file, or `:memory:`; without one it is a file in a temporary folder that goes with the server.
    - `schemas`: a folder of declared tables. `config`: a configuration file.
    - `settings`: settings by name, such as `{"database.memory_limit": "1 GiB"}`; they stand above the file.
    - `listen`, `http`: addresses of both ports; free ports of this machine unless they are given.
    - `timeout`: seconds that the start may take, the replay of a log included.

    It serves when the constructor returns. Raises ServerFailed with the log when it does not come up, and
    FileNotFoundError when the program `pintail` is not there.
    """

    uri: str
    """Address of the Flight port: `grpc://127.0.0.1:PORT`."""

    def __init__(
        self,
        database: str | os.PathLike[str] | None = None,
        *,
        schemas: str | os.PathLike[str] | None = None,
        config: str | os.PathLike[str] | None = None,
        settings: Mapping[str, object] | None = None,
        listen: str = "127.0.0.1:0",
        http: str = "127.0.0.1:0",
        timeout: float = 60,
    ):
        self._program = binary()
        self._folder = Path(tempfile.mkdtemp(prefix="pintail-"))
        self._remove_folder = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._log = self._folder / "pintail.log"
        if database is None:
            database = self._folder / "pintail.duckdb"
        elif str(database) != ":memory:":
            database = Path(database).absolute()
        self._arguments = ["serve", "--database", str(database), "--until-input-ends"]
        for flag, path in (("--schemas", schemas), ("--config", config)):
            if path is not None:
                self._arguments += [flag, str(Path(path).absolute())]
        self._listen, self._http_listen = listen, http
        self._environment = {**os.environ}
        for name, value in (settings or {}).items():
            said = str(value).lower() if isinstance(value, bool) else str(value)
            self._environment["PINTAIL_" + name.upper().replace(".", "__")] = said
        self._timeout = timeout
        self._process: subprocess.Popen[str] | None = None
        self._end: weakref.finalize[[subprocess.Popen[str]], Server] | None = None
        self._http = ""
        try:
            self.start()
        except BaseException:
            self._remove_folder()
            raise

    def start(self) -> None:
        """Starts the server again after `stop` or `kill`, over the same database and at the same addresses."""
        if self.is_running:
            return
        with self._log.open("ab") as log:
            at = log.tell()
            process = subprocess.Popen(
                [self._program, *self._arguments, "--listen", self._listen, "--http", self._http_listen],
                cwd=self._folder,
                env=self._environment,
                # Held open and never written to: it ends when this process does, however that happens.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._process = process
        # Also when nobody calls `stop`: at the end of this object, and of the interpreter.
        self._end = weakref.finalize(self, _end, process)
        found = _LISTENING.match(self._first_line(process))
        if found is None:
            self.kill()
            raise ServerFailed(f"the server did not come up (exit code {process.returncode})", self._log_tail())
        self.uri = found[1]
        self._http = self._told_http(at)
        # A start after this one finds the clients where they look for it.
        self._listen = self.uri.split("://")[1]
        if self._http:
            self._http_listen = self._http.split("://")[1]

    def _first_line(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], self._timeout)
        if not ready:
            self.kill()
            raise ServerFailed(f"the server did not come up within {self._timeout:g} s", self._log_tail())
        line = process.stdout.readline()
        if not line:
            process.wait(self._timeout)
        return line

    def _told_http(self, at: int) -> str:
        """The HTTP port stands in the log, right behind the line that says where the server listens."""
        deadline = time.monotonic() + 2
        while True:
            with self._log.open("rb") as log:
                log.seek(at)
                for line in log:
                    if b'"http"' in line and line.endswith(b"\n"):
                        return str(json.loads(line)["http"])
            if time.monotonic() > deadline or not self.is_running:
                # `log.level` leaves such lines out, or `log.format` writes them for people.
                return ""
            time.sleep(0.005)

    @property
    def http(self) -> str:
        """Address of the HTTP port, `http://127.0.0.1:PORT`: /livez, /readyz, /metrics."""
        if not self._http:
            raise AttributeError(
                "the log does not say where the HTTP port is; pass http=, or leave log.level at info and log.format at json"
            )
        return self._http

    @property
    def log(self) -> str:
        """What the server has logged: lines of JSON."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def pid(self) -> int:
        """The process of the server."""
        if self._process is None:
            raise ServerFailed("the server is not running", "")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def connect(
        self,
        *,
        autocommit: bool = True,
        headers: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        **credentials: Unpack[Credentials],
    ) -> dbapi.Connection:
        """An ADBC connection, as `pintail.connect` makes it."""
        from ._connect import connect

        return connect(self.uri, autocommit=autocommit, headers=headers, options=options, **credentials)

    def client(self, **credentials: Unpack[Credentials]) -> flight.FlightClient:
        """A client of pyarrow.flight."""
        from ._address import Address

        return Address.of(self.uri, credentials).client()

    def stop(self, timeout: float = 40) -> int:
        """Stops the server as SIGTERM does: calls under way end, the log is written into the file. Gives the exit code.

        One that is not gone after `timeout` seconds is killed, which loses nothing that was acknowledged.
        """
        return self._finish(signal.SIGTERM, timeout)

    def kill(self) -> int:
        """Kills the server as a crash would; the next `start` replays its log."""
        return self._finish(signal.SIGKILL, 60)

    def _finish(self, how: signal.Signals, timeout: float) -> int:
        process = self._process
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._end is not None:
            self._end.detach()
        _close(process)
        return process.returncode

    def _log_tail(self) -> str:
        return self.log[-_LOG_BYTES_TOLD:]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._remove_folder()

    def __repr__(self) -> str:
        return f"<pintail.Server {self.uri}{'' if self.is_running else ', stopped'}>"


def _end(process: subprocess.Popen[str]) -> None:
    # The end of its input stops a server; here somebody waits for it, so that its folder can be removed.
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _close(process)


def _close(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
