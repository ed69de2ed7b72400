"""Scan positions on their own channel, for detectors whose frames have no position attributes.

Two types of update are supported: a structure ``{double x, double y, time_t timeStamp}``, which `build_position`
creates, and an NTScalarArray of two doubles, x and y. Both are in metres, and their time stamp is that of the
frame they belong to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from charon.adapters.pvaccess.monitor import DEFAULT_QUEUE_SIZE, Subscription
from charon.adapters.pvaccess.pvapy import PvStructure, pva
from charon.adapters.pvaccess.timestamps import build_time_stamp, read_time_ns
from charon.errors import BadFrameError, Reason
from charon.frames import LatePosition

if TYPE_CHECKING:
    from collections.abc import Callable

    from charon.frames import Position

_TIME_TYPE = {"secondsPastEpoch": pva.LONG, "nanoseconds": pva.INT, "userTag": pva.INT}
_EMPTY_POSITION = pva.PvObject({"x": pva.DOUBLE, "y": pva.DOUBLE, "timeStamp": _TIME_TYPE})


@dataclass(frozen=True, slots=True)
class RawPosition:
    """One update of a position channel, not yet decoded.

    Parameters
    ----------
    channel
        Name of the position channel.
    frames_channel
        Name of the channel of the frames that it belongs to.
    received_ns
        Time of receipt, ns since 1970.
    pv
        The update, of one of the types that this module supports.
    """

    channel: str
    frames_channel: str
    received_ns: int
    pv: PvStructure

    def position(self) -> LatePosition:
        """Return the position and the time of its frame; see `decode_position`."""
        return decode_position(self.pv, self.channel, self.frames_channel)


class PositionMonitor(Subscription):
    """Subscription to a position channel; `on_update` is called with a `RawPosition`.

    Parameters
    ----------
    frames_channel
        Name of the channel of the frames that the positions belong to.
    """

    def __init__(
        self,
        channel: str,
        frames_channel: str,
        on_update: Callable[[RawPosition], None],
        on_connection: Callable[[bool], None],
        queue_size: int = DEFAULT_QUEUE_SIZE,
    ) -> None:
        def deliver(received_ns: int, pv: PvStructure) -> None:
            on_update(RawPosition(channel, frames_channel, received_ns, pv))

        super().__init__(channel, deliver, on_connection, queue_size)


def decode_position(pv: PvStructure, channel: str, frames_channel: str) -> LatePosition:
    """Return the position in an update.

    Raises
    ------
    BadFrameError
        If the type is not supported, the position is not finite, or the time stamp is missing (``EMPTY``: the
        first update of a channel on which nothing was published yet).
    """
    time_ns = read_time_ns(pv, "timeStamp")
    if time_ns is None:
        raise BadFrameError(Reason.EMPTY, f"an update of {channel} has no time stamp, so it matches no frame")
    pair = _read_pair(pv)
    if pair is None:
        raise BadFrameError(Reason.MALFORMED, f"an update of {channel} contains neither x and y nor two numbers")
    if not np.isfinite(pair).all():
        raise BadFrameError(Reason.NOT_FINITE, f"an update of {channel} contains the position {pair}")
    return LatePosition(frames_channel, time_ns, pair)


def build_position(position_m: Position, time_ns: int) -> PvStructure:
    """Return a position, (x, y) in m, with the time stamp of its frame in ns since 1970, for publishing."""
    pv = _EMPTY_POSITION.copy()
    pv["x"], pv["y"] = position_m
    pv["timeStamp"] = build_time_stamp(time_ns)
    return pv


def _read_pair(pv: PvStructure) -> Position | None:
    try:
        if pv.hasField("x") and pv.hasField("y"):
            return float(pv["x"]), float(pv["y"])
        if pv.hasField("value"):
            x, y = pv["value"]
            return float(x), float(y)
    except (TypeError, ValueError):
        return None
    return None
