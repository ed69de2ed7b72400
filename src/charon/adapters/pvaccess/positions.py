"""Scan positions on a channel of their own, for detectors whose frames do not carry them.

Two published forms are read: a structure ``{double x, double y, time_t timeStamp}``, which is the one that
`position_structure` makes, and an NTScalarArray of two doubles, x and y. Both are in metres, and their time
stamp is that of the frame they belong to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from charon.adapters.pvaccess.monitor import DEFAULT_QUEUE, Subscription
from charon.adapters.pvaccess.pvapy import PvStructure, pva
from charon.adapters.pvaccess.timestamps import stamp_from, time_ns_from
from charon.errors import BadFrameError, Reason
from charon.frames import LatePosition

if TYPE_CHECKING:
    from collections.abc import Callable

    from charon.frames import Position

_STAMP_TYPE = {"secondsPastEpoch": pva.LONG, "nanoseconds": pva.INT, "userTag": pva.INT}
_FORM = pva.PvObject({"x": pva.DOUBLE, "y": pva.DOUBLE, "timeStamp": _STAMP_TYPE})


@dataclass(frozen=True, slots=True)
class RawPosition:
    """One update of a position channel as it came.

    Parameters
    ----------
    channel
        That it came on.
    frames_channel
        The channel of the frames it belongs to.
    received_ns
        When it was received, ns since 1970.
    pv
        The position, in one of the forms of this module.
    """

    channel: str
    frames_channel: str
    received_ns: int
    pv: PvStructure

    def position(self) -> LatePosition:
        """Return the position and the time of its frame; see `position_from`."""
        return position_from(self.pv, self.channel, self.frames_channel)


class PositionMonitor(Subscription):
    """A channel of positions: see `Subscription`; `on_update` is given a `RawPosition`.

    Parameters
    ----------
    frames_channel
        The channel of the frames that the positions belong to.
    """

    def __init__(
        self,
        channel: str,
        frames_channel: str,
        on_update: Callable[[RawPosition], None],
        on_state: Callable[[bool], None],
        queue_size: int = DEFAULT_QUEUE,
    ) -> None:
        def hand_over(received_ns: int, pv: PvStructure) -> None:
            on_update(RawPosition(channel, frames_channel, received_ns, pv))

        super().__init__(channel, hand_over, on_state, queue_size)


def position_from(pv: PvStructure, channel: str, frames_channel: str) -> LatePosition:
    """Return the position that an update holds.

    Raises
    ------
    BadFrameError
        If it is of neither form, not finite, or has no time stamp to be matched by (``EMPTY``: the first
        update of a channel where nothing was published yet).
    """
    time_ns = time_ns_from(pv, "timeStamp")
    if time_ns is None:
        raise BadFrameError(Reason.EMPTY, f"an update of {channel} has no time stamp to match a frame by")
    pair = _pair(pv)
    if pair is None:
        raise BadFrameError(Reason.MALFORMED, f"an update of {channel} holds neither x and y nor two numbers")
    if not np.isfinite(pair).all():
        raise BadFrameError(Reason.NOT_FINITE, f"an update of {channel} holds the position {pair}")
    return LatePosition(frames_channel, time_ns, pair)


def position_structure(position_m: Position, time_ns: int) -> PvStructure:
    """Return a position, (x, y) in m, to be published for the frame of a time stamp (ns since 1970)."""
    pv = _FORM.copy()
    pv["x"], pv["y"] = position_m
    pv["timeStamp"] = stamp_from(time_ns)
    return pv


def _pair(pv: PvStructure) -> Position | None:
    try:
        if pv.hasField("x") and pv.hasField("y"):
            return float(pv["x"]), float(pv["y"])
        if pv.hasField("value"):
            x, y = pv["value"]
            return float(x), float(y)
    except (TypeError, ValueError):
        return None
    return None
