"""Read a manifest from a file or a URL."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from charon.adapters.addresses import without_credentials
from charon.engines.manifest.reader import read_text
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator

    import httpx

_MAX_DOWNLOAD_BYTES = 1 << 20
_READ_TIMEOUT_S = 10.0
_DOWNLOAD_TIMEOUT_S = 60.0


def read_manifest(location: str) -> str:
    """Return the text of a manifest.

    Parameters
    ----------
    location
        A file, or an HTTP or HTTPS URL.

    Raises
    ------
    UsageError
        If the file is missing or is not text, or the URL has another scheme.
    UnavailableError
        If the URL does not return text of at most 1 MiB.
    """
    return _download(location) if "://" in location else read_text(Path(location))


@contextmanager
def local_file(location: str) -> Generator[Path]:
    """Yield the path of a manifest; if it is at a URL, download it to a temporary file."""
    if "://" not in location:
        yield Path(location)
        return
    text = _download(location)
    with tempfile.TemporaryDirectory(prefix="charon-") as folder:
        path = Path(folder) / "manifest.yaml"
        path.write_text(text)
        yield path


def _download(url: str) -> str:
    import httpx  # noqa: PLC0415 - slow to import; only for URLs

    shown = without_credentials(url)
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise UsageError(f"{shown}: invalid URL") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise UsageError(f"{shown}: unsupported URL; use a file, http:// or https://")
    content = bytearray()
    deadline = time.monotonic() + _DOWNLOAD_TIMEOUT_S
    try:
        with (
            httpx.Client(follow_redirects=True, max_redirects=5, timeout=_READ_TIMEOUT_S) as client,
            # The URL without the password, because httpx logs it.
            client.stream("GET", _without_user(httpx.URL(url)), auth=_credentials(httpx.URL(url))) as response,
        ):
            if not response.is_success:
                raise UnavailableError(f"{shown}: HTTP status {response.status_code} {response.reason_phrase}")
            for part in response.iter_bytes():
                if time.monotonic() > deadline:
                    raise UnavailableError(f"{shown}: download timed out after {_DOWNLOAD_TIMEOUT_S:.0f} s")
                content += part
                if len(content) > _MAX_DOWNLOAD_BYTES:
                    raise UnavailableError(f"{shown}: larger than 1 MiB, not a manifest")
        return content.decode()
    except httpx.InvalidURL as error:
        # The reason may quote a part of the password.
        raise UsageError(f"{shown}: invalid URL" + (f": {error}" if shown == url else "")) from error
    except httpx.HTTPError as error:
        raise UnavailableError(f"{shown}: download failed: {error or type(error).__name__}") from error
    except UnicodeDecodeError as error:
        raise UnavailableError(f"{shown}: not valid YAML (not UTF-8 text)") from error


def _without_user(url: httpx.URL) -> httpx.URL:
    return url.copy_with(username=None, password=None)


def _credentials(url: httpx.URL) -> tuple[str, str] | None:
    return (url.username, url.password) if url.userinfo else None
