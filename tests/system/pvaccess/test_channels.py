"""Channels over real pvAccess, with p4p as an independent implementation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from p4p.client.thread import Context
from p4p.nt import NTNDArray, NTScalar
from p4p.server import Server
from p4p.server.thread import SharedPV

from charon.adapters.pvaccess import FrameMonitor, ImageServer, PositionMonitor, build_position
from charon.errors import BadFrameError, Reason, UsageError
from charon.frames import LatePosition

pytestmark = pytest.mark.system

TIME_NS = 1_700_000_000_123_456_789

SERVER = """
import sys, time
import numpy as np
from charon.adapters.pvaccess import ImageServer
with ImageServer(["test:restarting"]) as server:
    while not server.count_clients():
        time.sleep(0.01)
    number = 0
    while True:
        number += 1
        server.post("test:restarting", np.zeros((4, 4), "i2"), unique_id=number, time_ns=time.time_ns())
        time.sleep(0.02)
"""


@pytest.fixture
def monitor(collector):
    """Return a function that starts a monitor, which is stopped at the end of the test."""
    started = []

    def start(channel, **options):
        started.append(FrameMonitor(channel, collector.add, collector.state, **options))
        started[-1].start()
        return started[-1]

    yield start
    for subscription in started:
        subscription.stop()
        assert subscription.failure is None


def frames(collector):
    """Return the received frames, without the empty first update of a channel."""
    return [update.frame() for update in collector.items if update.identify().unique_id]


def test_frame_from_p4p_server_is_decoded(collector, monitor):
    image = np.arange(15, dtype=np.uint16).reshape(3, 5)
    pv = SharedPV(initial=NTNDArray().wrap(np.zeros((0, 0), np.uint16)))
    with Server(providers=[{"test:p4p": pv}]):
        monitor("test:p4p")
        collector.wait(lambda c: c.states == [True] and c.items)
        value = NTNDArray().wrap(image)
        value["uniqueId"] = 77
        value["dataTimeStamp.secondsPastEpoch"] = TIME_NS // 10**9
        value["dataTimeStamp.nanoseconds"] = TIME_NS % 10**9
        value["attribute"] = [
            {"name": "x_position", "value": 1e-6},
            {"name": "y_position", "value": 2e-6},
        ]
        before = time.time_ns()
        pv.post(value)
        collector.wait(lambda c: any(u.identify().unique_id == 77 for u in c.items))
        update = collector.items[-1]
        frame = update.frame()
    assert (frame.id.unique_id, frame.id.time_ns) == (77, TIME_NS)
    assert frame.image.dtype == np.uint16
    np.testing.assert_array_equal(frame.image, image)
    assert frame.position_m == (1e-6, 2e-6)
    assert before <= update.received_ns <= time.time_ns()


def test_image_is_read_by_a_p4p_client():
    image = np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)
    with ImageServer(["test:stitched", "test:second"]) as server, Context("pva") as context:
        server.post("test:stitched", image, unique_id=5, time_ns=TIME_NS, attributes={"run": "r1"})
        value: Any = context.get("test:stitched", timeout=20)
        assert value.shape == (3, 4)
        np.testing.assert_array_equal(np.asarray(value), image)
        raw = value.raw
        assert raw["uniqueId"] == 5
        assert raw["timeStamp.secondsPastEpoch"] * 10**9 + raw["timeStamp.nanoseconds"] == TIME_NS
        assert {a["name"]: a["value"] for a in raw["attribute"]} == {"ColorMode": 0, "run": "r1"}
        second: Any = context.get("test:second", timeout=20)
        assert second.size == 0


def test_first_update_of_an_idle_channel_is_empty(collector, monitor):
    with ImageServer(["test:idle"]):
        monitor("test:idle")
        collector.wait(lambda c: c.items)
        with pytest.raises(BadFrameError) as caught:
            collector.items[0].frame()
    assert caught.value.reason is Reason.EMPTY


def test_other_types_are_rejected_live(collector, monitor):
    pv = SharedPV(nt=NTScalar("d"), initial=3.0)
    with Server(providers=[{"test:scalar": pv}]):
        monitor("test:scalar")
        collector.wait(lambda c: c.items)
        with pytest.raises(BadFrameError, match="test:scalar is not an NTNDArray"):
            collector.items[0].identify()


def test_every_image_has_its_own_memory(collector, monitor):
    with ImageServer(["test:memory"]) as server:
        monitor("test:memory")
        collector.wait(lambda c: c.items)
        for number in range(1, 51):
            server.post("test:memory", np.full((16, 16), number, "u2"), unique_id=number, time_ns=number)
        collector.wait(lambda c: len(c.items) == 51)
    for frame in frames(collector):
        assert (frame.image == frame.id.unique_id).all()
        assert frame.id.time_ns == frame.id.unique_id


def test_monitor_reconnects_to_a_restarted_server(collector, monitor):
    monitor("test:restarting")

    def serve():
        return subprocess.Popen([sys.executable, "-c", SERVER])

    first = serve()
    try:
        collector.wait(lambda c: c.states == [True] and len(c.items) > 5)
        first.send_signal(signal.SIGKILL)
        first.wait()
        collector.wait(lambda c: c.states == [True, False])
        seen = len(collector.items)
        second = serve()
        try:
            collector.wait(lambda c: c.states == [True, False, True] and len(c.items) > seen + 5)
        finally:
            second.kill()
            second.wait()
    finally:
        first.kill()
        first.wait()
    ids = [frame.id.unique_id for frame in frames(collector)]
    assert sum(later < earlier for earlier, later in pairwise(ids)) == 1
    assert len({frame.id.name for frame in frames(collector)}) == len(ids)


def test_search_for_a_missing_channel_is_repeated(collector, monitor, monkeypatch):
    searches = []
    monkeypatch.setattr("charon.adapters.pvaccess.monitor._SEARCH_INTERVAL_S", 0.2)
    monkeypatch.setattr(
        FrameMonitor, "_search", lambda self, search=FrameMonitor._search: searches.append(search(self))
    )
    monitor("test:late-server")
    end = time.monotonic() + 10
    while len(searches) < 4:
        assert time.monotonic() < end
        time.sleep(0.01)
    with ImageServer(["test:late-server"]) as server:
        collector.wait(lambda c: c.states == [True] and c.items)
        server.post("test:late-server", np.ones((2, 2), "i2"), unique_id=1, time_ns=TIME_NS)
        collector.wait(lambda c: len(c.items) == 2)
    assert [frame.id.unique_id for frame in frames(collector)] == [1]


def test_position_on_its_own_channel_is_decoded(collector):
    initial = build_position((0.0, 0.0), 0)
    with ImageServer([], {"test:positions": initial}) as server:
        monitor = PositionMonitor("test:positions", "ad:image", collector.add, collector.state)
        monitor.start()
        try:
            collector.wait(lambda c: c.items)
            server.post_structure("test:positions", build_position((1e-6, -2e-6), TIME_NS))
            collector.wait(lambda c: len(c.items) == 2)
        finally:
            monitor.stop()
    with pytest.raises(BadFrameError) as caught:
        collector.items[0].position()
    assert caught.value.reason is Reason.EMPTY
    assert collector.items[1].position() == LatePosition("ad:image", TIME_NS, (1e-6, -2e-6))


def test_port_in_use_is_an_error(monkeypatch):
    with ImageServer(["test:first"]) as server:
        (port,) = server.ports
        monkeypatch.setenv("EPICS_PVAS_SERVER_PORT", str(port))
        with pytest.raises(UsageError, match=f"port {port} .*in use.*127.0.0.1"), ImageServer(["test:second"]):
            pass


def test_each_client_process_is_counted_once(collector, monitor):
    with ImageServer(["test:client", "test:other"]) as server:
        assert server.count_clients() == 0
        monitor("test:client")
        monitor("test:other")
        collector.wait(lambda c: len(c.items) == 2)
        assert server.count_clients() == 1
        with Context("pva") as context:
            context.get("test:client", timeout=20)
            assert server.count_clients() == 2


def test_monitor_stops_without_a_connection(monitor):
    assert monitor("test:nowhere").overruns == 0
    assert "EPICS_PVA_ADDR_LIST" in os.environ
