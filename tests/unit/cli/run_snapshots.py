"""Snapshots of runs with given numbers of frames."""

from __future__ import annotations

from charon.adapters.nats import EdgeState
from charon.engines.embedded import Snapshot
from charon.ledger.accounting import compute_account
from charon.ledger.entries import LedgerEntry
from charon.ledger.id_set import IdSet
from charon.ledger.pages import SinkPage, SourcePage
from charon.ledger.process import ProcessStats
from charon.ledger.sink_report import SinkReport

SECOND = 10**9


def snapshot(seconds, *, accepted, reconstructed, waiting=0, ring=0):
    """Return a snapshot with numbers of frames: accepted, reconstructed, waiting in the buffer and in the ring."""

    def entries(state, count):
        return (LedgerEntry(channel="c", epoch_ns=1, sets={state: IdSet(range(1, count + 1))}),)

    report = SinkReport(entries=entries("reconstructed", reconstructed))
    pages = {
        "in.0": SourcePage(process=ProcessStats(), waiting=ring, entries=entries("accepted", accepted)),
        "out.0": SinkPage(process=ProcessStats(), report=report),
    }
    return Snapshot(
        seconds * SECOND, pages, {"p-in-out": EdgeState(waiting, 0, 0, 0)}, compute_account(pages, ended=False)
    )
