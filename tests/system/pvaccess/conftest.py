"""Fixtures: pvAccess on loopback with free ports, for this process and its child processes."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

import pytest

from loopback import free_port

# A pvAccess client reads these once per process, when it is first used. Therefore they are set here for all tests,
# unless they are set already.
os.environ.setdefault("EPICS_PVA_BROADCAST_PORT", str(free_port(socket.SOCK_DGRAM)))
os.environ.setdefault("EPICS_PVAS_BROADCAST_PORT", os.environ["EPICS_PVA_BROADCAST_PORT"])
os.environ.setdefault("EPICS_PVA_SERVER_PORT", str(free_port()))
os.environ.setdefault("EPICS_PVA_ADDR_LIST", "127.0.0.1")
os.environ.setdefault("EPICS_PVA_AUTO_ADDR_LIST", "NO")
os.environ.setdefault("EPICS_PVAS_INTF_ADDR_LIST", "127.0.0.1")

DETECTOR = (sys.executable, "-m", "charon.cli.main", "detector")


class Collector:
    """Collects the updates of a monitor."""

    def __init__(self):
        self.items = []
        self.states = []
        self._changed = threading.Condition()

    def add(self, item):
        """Add an update."""
        with self._changed:
            self.items.append(item)
            self._changed.notify_all()

    def state(self, connected):
        """Add a change of the connection."""
        with self._changed:
            self.states.append(connected)
            self._changed.notify_all()

    def wait(self, condition, timeout_s=30.0):
        """Wait until `condition(self)` holds."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while not condition(self):
                left = end - time.monotonic()
                assert left > 0, f"timed out after {timeout_s} s: {len(self.items)} items, states {self.states}"
                self._changed.wait(left)


@pytest.fixture
def collector():
    return Collector()
