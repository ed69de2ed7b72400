"""Write output files that replace an earlier file only when they are complete."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def open_output(path: Path) -> Generator[IO[bytes]]:
    """Open a file for writing that is renamed to the path on success and deleted on failure.

    Symbolic links are followed. A device or a pipe is written to directly.

    Raises
    ------
    UsageError
        If the file cannot be created.
    UnavailableError
        If writing fails.
    """
    path = Path(os.path.realpath(path))
    if is_device(path):
        with _write_errors(f"{path}: "), path.open("wb") as file:
            yield file
        return
    part = _create_part(path)
    try:
        with _write_errors(f"{path}: ", "; nothing was saved"):
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def is_device(path: Path) -> bool:
    """Return whether a path exists and is neither a file nor a folder."""
    return path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def _write_errors(before: str, after: str = "") -> Generator[None]:
    """Turn an OSError into an UnavailableError with the path."""
    try:
        yield
    except UnavailableError:  # is an OSError too
        raise
    except OSError as error:
        raise UnavailableError(f"{before}{error.strerror or error}{after}") from error


def _create_part(path: Path) -> Path:
    """Create the path's folder, and in it an empty file with the permissions of a new file."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; use a file name with --output")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; use another file with --output") from error
    mask = os.umask(0)
    os.umask(mask)
    os.fchmod(descriptor, 0o666 & ~mask)
    os.close(descriptor)
    return Path(name)
