"""Pages of one replica: the file in the pod, and the page that two pods share in the ledger."""

from __future__ import annotations

import asyncio

import pytest

from charon.adapters.nats import OvertakenError
from charon.adapters.nats.ledger_bucket import LedgerBucket
from charon.engines.numaflow.page_file import PageFile
from charon.engines.numaflow.shared_page import SharedPage
from charon.errors import UnavailableError
from charon.ledger.pages import SourcePage
from charon.ledger.process import ProcessStats


class FakeBucket(LedgerBucket):
    """A bucket in memory with revisions."""

    def __init__(self):
        self.documents = {}
        self.contended = False

    async def read(self, key):
        """Return a document and its revision."""
        return self.documents.get(key, (None, 0))

    async def save(self, key, document):
        """Write a document."""
        self.documents[key] = (document, self.documents.get(key, (None, 0))[1] + 1)

    async def replace(self, key, document, revision):
        """Replace a revision."""
        if self.contended or self.documents.get(key, (None, 0))[1] != revision:
            raise OvertakenError(key)
        await self.save(key, document)
        return revision + 1

    def pids(self):
        """Return the process of each page by key."""
        return {key: document["pid"] for key, (document, _) in self.documents.items()}


def _page(process, updated=0):
    return SourcePage(process=ProcessStats(pid=process, started_ns=process, updated_ns=process + updated))


def test_page_file_returns_the_saved_page(tmp_path):
    file = PageFile(tmp_path / "page.json", pytest.fail)
    assert file.load() is None
    file.save(_page(1))
    assert file.load() == _page(1)


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"kind": "unknown"}'])
def test_invalid_page_file_is_ignored(tmp_path, content):
    (tmp_path / "page.json").write_bytes(content)
    assert PageFile(tmp_path / "page.json", pytest.fail).load() is None


def test_unwritable_page_file_warns(tmp_path):
    warnings = []
    PageFile(tmp_path / "missing" / "page.json", warnings.append).save(_page(1))
    (warning,) = warnings
    assert "cannot write" in warning


def test_restarted_process_replaces_the_page():
    async def run():
        bucket = FakeBucket()
        await bucket.save("in.0", _page(10).to_json())
        shared = SharedPage("in.0", pytest.fail)
        assert shared.restore(None, await shared.load(bucket)) == _page(10)
        await shared.save(bucket, _page(20))
        await shared.save(bucket, _page(20, 1))
        return bucket.pids()

    assert asyncio.run(run()) == {"in.0": 20}


def test_newer_page_of_the_pod_is_restored():
    async def run():
        bucket = FakeBucket()
        await bucket.save("in.0", _page(10).to_json())
        shared = SharedPage("in.0", pytest.fail)
        assert shared.restore(_page(10, 5), await shared.load(bucket)) == _page(10, 5)
        await shared.save(bucket, _page(20))
        return bucket.pids()

    assert asyncio.run(run()) == {"in.0": 20}


def test_unread_page_is_saved_under_its_own_key():
    async def run():
        bucket = FakeBucket()
        await bucket.save("in.0", _page(10).to_json())
        shared = SharedPage("in.0", pytest.fail)
        shared.restore(_page(5), None)
        await shared.save(bucket, _page(20))
        return bucket.pids()

    assert asyncio.run(run()) == {"in.0": 20, "in.0-10": 10}


def test_replaced_pod_moves_to_its_own_key():
    async def run():
        bucket = FakeBucket()
        old, new = SharedPage("in.0", pytest.fail), SharedPage("in.0", pytest.fail)
        await old.save(bucket, _page(10))
        new.restore(None, await new.load(bucket))
        await new.save(bucket, _page(20))
        await old.save(bucket, _page(10, 1))
        await new.save(bucket, _page(20, 1))
        return bucket.pids()

    assert asyncio.run(run()) == {"in.0": 20, "in.0-10": 10}


def test_invalid_page_in_the_ledger_warns():
    async def run():
        bucket, warnings = FakeBucket(), []
        await bucket.save("in.0", {"kind": "unknown", "pid": 0})
        shared = SharedPage("in.0", warnings.append)
        assert await shared.load(bucket) is None
        await shared.save(bucket, _page(20))
        assert bucket.pids() == {"in.0": 20}
        return warnings

    assert "ignored page in.0" in asyncio.run(run())[0]


def test_contended_page_raises_unavailable():
    async def run():
        bucket = FakeBucket()
        bucket.contended = True
        await SharedPage("in.0", pytest.fail).save(bucket, _page(20))

    with pytest.raises(UnavailableError, match=r"cannot write page in\.0"):
        asyncio.run(run())
