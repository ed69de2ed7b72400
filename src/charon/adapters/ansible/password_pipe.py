"""Pass a password to a program through a named pipe instead of a command line, the environment or the disk."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

_POLL_INTERVAL_S = 0.02


@contextmanager
def password_pipe(password: str) -> Generator[Path]:
    """Create a pipe from which the password can be read once, and yield its path.

    The pipe has a name because Ansible resolves the path of a password file before it opens the file, and
    ``/dev/fd/N`` resolves to a path that cannot be opened. Only the user can access the pipe's folder, which is deleted
    with the pipe.
    """
    with tempfile.TemporaryDirectory(prefix="charon-") as folder:
        pipe = Path(folder) / "pipe"
        os.mkfifo(pipe, 0o600)
        stop = threading.Event()
        writer = threading.Thread(target=_write_once, args=(pipe, password, stop), daemon=True)
        writer.start()
        try:
            yield pipe
        finally:
            stop.set()
            writer.join()


def _write_once(pipe: Path, password: str, stop: threading.Event) -> None:
    # Opened without blocking, because the reader may exit before it opens the pipe.
    while not stop.wait(_POLL_INTERVAL_S):
        try:
            descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENXIO:
                continue
            return
        try:
            os.write(descriptor, password.encode() + b"\n")
        except BrokenPipeError:
            continue
        finally:
            os.close(descriptor)
        return
