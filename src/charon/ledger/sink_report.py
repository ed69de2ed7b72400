"""Results of a sink, as its page of the ledger contains them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from charon.frames.fields import Fields, integer, mapping, sequence, text
from charon.ledger.latency import Latency, LatencyHistogram, LatencySummary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from charon.ledger.entries import LedgerEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanReport:
    """Output of one scan.

    Parameters
    ----------
    stitched
        Patches in the image.
    waiting
        Patches whose position has not arrived.
    unstitched
        Patches whose position is too far from the others.
    files
        Paths of the HDF5 files.
    picture
        Path of the PNG file.
    """

    stitched: int
    waiting: int
    unstitched: int
    files: Sequence[str]
    picture: str

    def to_json(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return {
            "stitched": self.stitched,
            "waiting": self.waiting,
            "unstitched": self.unstitched,
            "files": list(self.files),
            "picture": self.picture,
        }

    @classmethod
    def from_json(cls, document: object) -> ScanReport:
        """Return the report that `to_json` returned."""
        fields = mapping(document, "scan")
        return cls(
            stitched=integer(fields, "stitched"),
            waiting=integer(fields, "waiting"),
            unstitched=integer(fields, "unstitched"),
            files=tuple(str(path) for path in sequence(fields["files"], "files")),
            picture=text(fields, "picture"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReport:
    """Figures of an image sink.

    Parameters
    ----------
    since_detector, since_received
        Latency until a patch is in the image, since the detector's time stamp and since receipt by the source.
    scans
        Output of each scan.
    positions_waiting
        Late positions whose patch has not arrived.
    """

    since_detector: Latency
    since_received: Latency
    scans: Mapping[str, ScanReport] = field(default_factory=dict[str, ScanReport])
    positions_waiting: int = 0

    def to_json(self) -> dict[str, object]:
        """Return the figures as JSON values."""
        return {
            "latency_ms": self.since_detector.summary.to_json(),
            "latency_since_received_ms": self.since_received.summary.to_json(),
            "latency_histograms": {
                "detector": self.since_detector.histogram.to_json(),
                "received": self.since_received.histogram.to_json(),
            },
            "scans": {scan: report.to_json() for scan, report in self.scans.items()},
            "positions_waiting": self.positions_waiting,
        }

    @classmethod
    def from_json(cls, fields: Fields) -> ImageReport:
        """Return the figures that `to_json` returned."""
        histograms = mapping(fields["latency_histograms"], "latency_histograms")

        def latency(summary: str, histogram: str) -> Latency:
            return Latency(LatencySummary.from_json(fields[summary]), LatencyHistogram.from_json(histograms[histogram]))

        return cls(
            since_detector=latency("latency_ms", "detector"),
            since_received=latency("latency_since_received_ms", "received"),
            scans={scan: ScanReport.from_json(report) for scan, report in mapping(fields["scans"], "scans").items()},
            positions_waiting=integer(fields, "positions_waiting"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkReport:
    """Results of a sink.

    Parameters
    ----------
    sink
        Kind of the sink, such as ``log``.
    entries
        The frames that it has stored or rejected.
    unreadable
        Messages that it could not decode.
    image
        Figures of an image sink; None for other sinks.
    """

    sink: str = ""
    entries: Sequence[LedgerEntry] = ()
    unreadable: int = 0
    image: ImageReport | None = None
