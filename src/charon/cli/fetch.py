"""A manifest from a file or from the web."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from charon.adapters.addresses import without_credentials
from charon.engines.manifest.reader import MAX_CHARACTERS
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator

    import httpx

_MOST_BYTES = 1 << 20
_TIMEOUT_S = 10.0
_WHOLE_S = 60.0


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
        with Path(where).open(encoding="utf-8") as file:
            text = file.read(MAX_CHARACTERS + 1)
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{where} is no YAML: it is no text") from error
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"{where} is larger than {MAX_CHARACTERS >> 20} MiB: that is no manifest")
    return text


@contextmanager
def local_file(where: str) -> Generator[Path]:
    """Give the path of a manifest, which is downloaded for as long as the context lasts where it is a URL."""
    if "://" not in where:
        yield Path(where)
        return
    text = _download(where)
    with tempfile.TemporaryDirectory(prefix="charon-") as folder:
        path = Path(folder) / "manifest.yaml"
        path.write_text(text)
        yield path


def _download(url: str) -> str:
    import httpx  # noqa: PLC0415 - slow to import; only for URLs

    told = without_credentials(url)
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise UsageError(f"{told} is no URL") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise UsageError(f"{told}: a manifest is read from a file, or from a URL with http:// or https://")
    content = bytearray()
    until = time.monotonic() + _WHOLE_S
    try:
        with (
            httpx.Client(follow_redirects=True, max_redirects=5, timeout=_TIMEOUT_S) as client,
            # The user is not left in the address, which httpx logs.
            client.stream("GET", _bare(httpx.URL(url)), auth=_user(httpx.URL(url))) as answer,
        ):
            if not answer.is_success:
                raise UnavailableError(f"{told} answers with {answer.status_code} {answer.reason_phrase}")
            for part in answer.iter_bytes():
                if time.monotonic() > until:
                    raise UnavailableError(f"{told} does not come to its end in {_WHOLE_S:.0f} s")
                content += part
                if len(content) > _MOST_BYTES:
                    raise UnavailableError(f"{told} is larger than 1 MiB: that is no manifest")
        return content.decode()
    except httpx.InvalidURL as error:
        # The reason quotes what may be a part of the password.
        raise UsageError(f"{told} is no URL" + (f": {error}" if told == url else "")) from error
    except httpx.HTTPError as error:
        raise UnavailableError(f"{told} cannot be read: {error or type(error).__name__}") from error
    except UnicodeDecodeError as error:
        raise UnavailableError(f"{told} is no YAML: it is no text") from error


def _bare(url: httpx.URL) -> httpx.URL:
    return url.copy_with(username=None, password=None)


def _user(url: httpx.URL) -> tuple[str, str] | None:
    return (url.username, url.password) if url.userinfo else None
