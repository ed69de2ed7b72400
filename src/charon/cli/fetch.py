"""A manifest from a file or from the web."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from charon.frames.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator

_MOST_BYTES = 1 << 20
_TIMEOUT_S = 10.0


def read_manifest(where: str) -> str:
    """Return the text of a manifest.

    Parameters
    ----------
    where
        A file, or a URL of HTTP or HTTPS.

    Raises
    ------
    UsageError
        If there is no such file, it is no text, or the URL is of another kind.
    UnavailableError
        If the URL does not answer with a text of at most 1 MiB.
    """
    if "://" in where:
        return _download(where)
    try:
        return Path(where).read_text()
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{where} is no YAML: it is no text") from error


@contextmanager
def local_file(where: str) -> Generator[Path]:
    """Give the path of a manifest, which is downloaded for as long as the context lasts where it is a URL."""
    if "://" not in where:
        yield Path(where)
        return
    text = _download(where)
    with tempfile.TemporaryDirectory(prefix="charon-") as folder:
        path = Path(folder) / (PurePosixPath(urlsplit(where).path).name or "manifest.yaml")
        path.write_text(text)
        yield path


def _download(url: str) -> str:
    import httpx

    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"{url}: a manifest is read from a file, or from a URL with http:// or https://")
    content = bytearray()
    try:
        with (
            httpx.Client(follow_redirects=True, max_redirects=5, timeout=_TIMEOUT_S) as client,
            client.stream("GET", url) as answer,
        ):
            if not answer.is_success:
                raise UnavailableError(f"{url} answers with {answer.status_code} {answer.reason_phrase}")
            for part in answer.iter_bytes():
                content += part
                if len(content) > _MOST_BYTES:
                    raise UnavailableError(f"{url} is larger than 1 MiB: that is no manifest")
        return content.decode()
    except httpx.InvalidURL as error:
        raise UsageError(f"{url} is no URL: {error}") from error
    except httpx.HTTPError as error:
        raise UnavailableError(f"{url} cannot be read: {error or type(error).__name__}") from error
    except UnicodeDecodeError as error:
        raise UnavailableError(f"{url} is no YAML: it is no text") from error
