"""Pages of the ledger: the state of one replica of a vertex, written several times a second.

Writers build pages from plain values without validation, because a page may contain a hundred thousand ranges.
`page_from_json` validates what a reader receives.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from charon.frames import FrameId
from charon.frames.fields import Fields, integer, integers, mapping, sequence, text
from charon.ledger.entries import LedgerEntry, entries_from_json, entries_to_json
from charon.ledger.process import ProcessStats
from charon.ledger.sink_report import ImageReport, SinkReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePage:
    """Page of a source.

    Parameters
    ----------
    process
        Counters of its process.
    channel
        Name of the channel that it reads.
    restarts
        Number of restarts of the detector.
    waiting
        Updates in the ring.
    pending
        Messages that were received and not yet confirmed by the buffer.
    last
        The latest frame, from which a successor resumes.
    entries
        The frames that it has read.
    """

    kind: ClassVar = "source"
    process: ProcessStats
    channel: str = ""
    restarts: int = 0
    waiting: int = 0
    pending: int = 0
    last: FrameId | None = None
    entries: Sequence[LedgerEntry] = ()

    def to_json(self, *, ledger: bool = True) -> dict[str, object]:
        """Return the page as JSON values, with or without its entries."""
        last = None if self.last is None else [self.last.unique_id, self.last.time_ns, self.last.epoch_ns]
        return {
            "kind": self.kind,
            "channel": self.channel,
            "restarts": self.restarts,
            "waiting": self.waiting,
            "pending": self.pending,
            "last": last,
            **self.process.to_json(),
            **({"ledger": entries_to_json(self.entries)} if ledger else {}),
        }

    @classmethod
    def from_json(cls, fields: Fields) -> SourcePage:
        """Return the page that `to_json` returned."""
        channel = text(fields, "channel")
        return cls(
            process=ProcessStats.from_json(fields),
            channel=channel,
            restarts=integer(fields, "restarts"),
            waiting=integer(fields, "waiting"),
            pending=integer(fields, "pending"),
            last=_last_frame(channel, fields.get("last")),
            entries=entries_from_json(fields.get("ledger", {})),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InferencePage:
    """Page of an inference vertex.

    Parameters
    ----------
    process
        Counters of its process.
    model
        Name and version of the model.
    backend
        Name and version of the back end.
    attempts
        Frames whose processing was started and not finished, with the number of attempts, by frame id.
    """

    kind: ClassVar = "inference"
    entries: ClassVar[Sequence[LedgerEntry]] = ()
    process: ProcessStats
    model: str = ""
    backend: str = ""
    attempts: Mapping[str, int] = field(default_factory=dict[str, int])

    def to_json(self, *, ledger: bool = True) -> dict[str, object]:  # noqa: ARG002 - it has no entries
        """Return the page as JSON values."""
        return {
            "kind": self.kind,
            "model": self.model,
            "backend": self.backend,
            **self.process.to_json(),
            "attempts": dict(self.attempts),
        }

    @classmethod
    def from_json(cls, fields: Fields) -> InferencePage:
        """Return the page that `to_json` returned."""
        return cls(
            process=ProcessStats.from_json(fields),
            model=text(fields, "model"),
            backend=text(fields, "backend"),
            attempts=integers(fields, "attempts"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkPage:
    """Page of a sink.

    Parameters
    ----------
    process
        Counters of its process.
    report
        Results of the sink.
    """

    kind: ClassVar = "sink"
    process: ProcessStats
    report: SinkReport = field(default_factory=SinkReport)

    @property
    def entries(self) -> Sequence[LedgerEntry]:
        """The frames that the sink has stored or rejected."""
        return self.report.entries

    def to_json(self, *, ledger: bool = True) -> dict[str, object]:
        """Return the page as JSON values, with or without its entries."""
        return {
            "kind": self.kind,
            **self.process.to_json(),
            "sink": self.report.sink,
            **({"ledger": entries_to_json(self.entries)} if ledger else {}),
            "unreadable": self.report.unreadable,
            **({} if self.report.image is None else self.report.image.to_json()),
        }

    @classmethod
    def from_json(cls, fields: Fields) -> SinkPage:
        """Return the page that `to_json` returned."""
        report = SinkReport(
            sink=text(fields, "sink"),
            entries=entries_from_json(fields.get("ledger", {})),
            unreadable=integer(fields, "unreadable"),
            image=ImageReport.from_json(fields) if "latency_ms" in fields else None,
        )
        return cls(process=ProcessStats.from_json(fields), report=report)


Page = SourcePage | InferencePage | SinkPage
"""A page of any kind."""

_PAGES: dict[str, type[SourcePage | InferencePage | SinkPage]] = {
    page.kind: page for page in (SourcePage, InferencePage, SinkPage)
}


def page_from_json(document: object) -> Page:
    """Return the page that a page's ``to_json`` returned.

    Raises
    ------
    ValueError
        If the document is not a page of a known kind, or one of its fields is missing or invalid.
    """
    try:
        fields = mapping(document, "page")
        kind = text(fields, "kind")
        page = _PAGES.get(kind)
        if page is not None:
            return page.from_json(fields)
    except KeyError as error:
        raise ValueError(f"invalid page: field {error} is missing") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"invalid page: {error}") from error
    raise ValueError(f"invalid page: unknown kind {kind!r}")


def vertex_of(key: str) -> str:
    """Return the vertex of the page with a key, ``vertex.replica``."""
    return key.rpartition(".")[0]


def range_count(page: Page) -> int:
    """Return the number of ranges in the entries of a page, which determines its size."""
    return sum(ids.range_count for entry in page.entries for ids in entry.sets.values())


def waiting_in_rings(pages: Iterable[Page]) -> int:
    """Return the number of updates that wait in the rings of sources."""
    return sum(page.waiting for page in pages if isinstance(page, SourcePage))


def _last_frame(channel: str, value: object) -> FrameId | None:
    if value is None:
        return None
    unique_id, time_ns, epoch_ns = sequence(value, "last", 3)
    if not (isinstance(unique_id, int) and isinstance(time_ns, int) and isinstance(epoch_ns, int)):
        raise TypeError("last contains a value that is not an integer")
    return FrameId(channel, unique_id, time_ns, epoch_ns)
