"""The ledger's key-value bucket: one document for each replica."""

from __future__ import annotations

import json
import logging
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from nats.errors import Error as NatsError
from nats.js import api
from nats.js.errors import BucketNotFoundError, KeyNotFoundError, KeyWrongLastSequenceError, NoKeysError, NotFoundError

from charon.adapters.nats.errors import OvertakenError, describe
from charon.adapters.nats.streams import storage_type
from charon.errors import UnavailableError
from charon.ledger.pages import page_from_json

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from charon.adapters.nats.client import JetStream, KeyValue
    from charon.adapters.nats.streams import Storage
    from charon.ledger.pages import Page

_log = logging.getLogger(__name__)
DEFAULT_BUCKET = "ledger"
# The payload limit of nats-server is 1 MiB by default, and a page with many gaps is larger.
_COMPRESS_FROM_BYTES = 64 * 2**10
_ZLIB_MAGIC = b"\x78"


class LedgerBucket:
    """Documents of a ledger in a JetStream key-value bucket.

    Parameters
    ----------
    jetstream
        Management API of the server.
    name
        Name of the bucket.
    """

    def __init__(self, jetstream: JetStream, name: str = DEFAULT_BUCKET) -> None:
        self._jetstream = jetstream
        self._name = name
        self._bucket: KeyValue | None = None

    async def create(self, storage: Storage) -> None:
        """Create the bucket unless it exists.

        Raises
        ------
        UnavailableError
            If the server does not respond or lacks memory or disk space.
        """
        config = api.KeyValueConfig(self._name, history=1, storage=storage_type(storage))
        with _translate_errors("cannot create the bucket"):
            try:
                self._bucket = await self._jetstream.key_value(self._name)
            except BucketNotFoundError:
                self._bucket = await self._jetstream.create_key_value(config)

    async def load(self, key: str) -> Mapping[str, object] | None:
        """Return a document, or None if it is missing or unreadable.

        Raises
        ------
        UnavailableError
            If the ledger does not respond.
        """
        return (await self.read(key))[0]

    async def read(self, key: str) -> tuple[Mapping[str, object] | None, int]:
        """Return a document, or None if it is missing or unreadable, and its revision.

        Raises
        ------
        UnavailableError
            If the ledger does not respond.
        """
        try:
            with _translate_errors(f"cannot read {key}", absent=(KeyNotFoundError, BucketNotFoundError)):
                entry = await (await self._open()).get(key)
        except KeyNotFoundError as error:
            # A deleted key has a revision, which `replace` needs.
            deleted = cast("Any", error).entry
            return None, 0 if deleted is None else int(deleted.revision or 0)
        except BucketNotFoundError:
            return None, 0
        return _decode(key, entry.value), entry.revision or 0

    async def save(self, key: str, document: Mapping[str, object]) -> None:
        """Write a document.

        Raises
        ------
        UnavailableError
            If the ledger does not respond.
        """
        with _translate_errors(f"cannot write {key}"):
            await (await self._open()).put(key, _encode(document))

    async def replace(self, key: str, document: Mapping[str, object], revision: int) -> int:
        """Replace a revision of a document and return the new revision.

        Raises
        ------
        OvertakenError
            If another process has written the document since that revision.
        UnavailableError
            If the ledger does not respond.
        """
        with _translate_errors(f"cannot write {key}"):
            return await (await self._open()).update(key, _encode(document), revision)

    async def pages(self) -> dict[str, Page]:
        """Return the pages of all replicas by key, ``vertex.replica``; an invalid page is logged and skipped.

        Raises
        ------
        UnavailableError
            If the ledger does not respond.
        """
        try:
            with _translate_errors("cannot read the pages", absent=(NoKeysError, NotFoundError)):
                bucket = await self._open()
                keys = [key for key in await bucket.keys() if "." in key]
                documents = {key: _decode(key, (await bucket.get(key)).value) for key in keys}
        except (NoKeysError, NotFoundError):
            return {}
        pages = {key: _page(key, document) for key, document in documents.items() if document is not None}
        return {key: page for key, page in pages.items() if page is not None}

    async def _open(self) -> KeyValue:
        if self._bucket is None:
            self._bucket = await self._jetstream.key_value(self._name)
        return self._bucket


class LedgerPage:
    """The ledger page of one replica.

    Parameters
    ----------
    bucket
        The ledger.
    key
        Key of the page: ``vertex.replica``.
    """

    def __init__(self, bucket: LedgerBucket, key: str) -> None:
        self._bucket = bucket
        self._key = key

    async def load(self) -> Page | None:
        """Return the page that the previous process of this replica wrote last.

        Raises
        ------
        ValueError
            If it is not a valid page.
        UnavailableError
            If the ledger does not respond.
        """
        document = await self._bucket.load(self._key)
        return None if document is None else page_from_json(document)

    async def save(self, page: Page) -> None:
        """Write the page.

        Raises
        ------
        UnavailableError
            If the ledger does not respond.
        """
        await self._bucket.save(self._key, page.to_json())


@contextmanager
def _translate_errors(failure: str, *, absent: tuple[type[Exception], ...] = ()) -> Generator[None]:
    """Raise nats-py's errors as Charon's, except those in `absent`, which the caller handles."""
    try:
        yield
    except absent:
        raise
    except KeyWrongLastSequenceError as error:
        raise OvertakenError(f"ledger: {failure}: another process has written it") from error
    except (NatsError, TimeoutError) as error:
        raise UnavailableError(f"ledger: {failure}: {describe(error)}") from error


def _page(key: str, document: Mapping[str, object]) -> Page | None:
    """Return a page, or None with a warning if it is invalid."""
    try:
        return page_from_json(document)
    except ValueError as error:
        _log.warning("ledger: skipped page %s: %s", key, error)
        return None


def _encode(document: Mapping[str, object]) -> bytes:
    """Return a document as JSON, compressed if it is large."""
    text = json.dumps(document).encode()
    return text if len(text) < _COMPRESS_FROM_BYTES else zlib.compress(text, 1)


def _decode(key: str, value: bytes | None) -> dict[str, object] | None:
    """Return a stored document, or None with a warning if it is unreadable."""
    if not value:
        return None
    try:
        document: object = json.loads(zlib.decompress(value) if value.startswith(_ZLIB_MAGIC) else value)
    except (ValueError, zlib.error) as error:
        _log.warning("ledger: page %s is unreadable: %s", key, error)
        return None
    if document is None or isinstance(document, dict):
        return cast("dict[str, object] | None", document)
    _log.warning("ledger: page %s is not a JSON object", key)
    return None
