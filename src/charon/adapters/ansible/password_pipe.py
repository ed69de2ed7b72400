"""Handing a password to a program by a named pipe: it is on no command line, in no environment and on no disk."""

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


@contextmanager
def secret_pipe(secret: str) -> Generator[Path]:
    """Give the path of a pipe from which the secret can be read once.

    A pipe with a name, because Ansible resolves the path of a password file before it opens it, and ``/dev/fd/N``
    resolves to nothing that can be opened. The pipe lies in a folder that only its owner may enter, and goes with it.
    """
    with tempfile.TemporaryDirectory(prefix="charon-") as folder:
        pipe = Path(folder) / "pipe"
        os.mkfifo(pipe, 0o600)
        over = threading.Event()
        writer = threading.Thread(target=_write_once, args=(pipe, secret, over), daemon=True)
        writer.start()
        try:
            yield pipe
        finally:
            over.set()
            writer.join()


def _write_once(pipe: Path, secret: str, over: threading.Event) -> None:
    # Opened without blocking: whoever should read may end before it does.
    while not over.wait(0.02):
        try:
            descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENXIO:
                continue
            return
        try:
            os.write(descriptor, secret.encode() + b"\n")
        except BrokenPipeError:
            continue
        finally:
            os.close(descriptor)
        return
