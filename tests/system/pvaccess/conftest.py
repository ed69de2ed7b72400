"""pvAccess on loopback and on ports of this run's own, for clients and servers in this process and its children."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

import pytest


def _free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


# A pvAccess client reads these once in the life of a process, when it is first used: so they are set here,
# once for all tests, and what is set already stays.
os.environ.setdefault("EPICS_PVA_BROADCAST_PORT", _free_port(socket.SOCK_DGRAM))
os.environ.setdefault("EPICS_PVAS_BROADCAST_PORT", os.environ["EPICS_PVA_BROADCAST_PORT"])
os.environ.setdefault("EPICS_PVA_SERVER_PORT", _free_port(socket.SOCK_STREAM))
os.environ.setdefault("EPICS_PVA_ADDR_LIST", "127.0.0.1")
os.environ.setdefault("EPICS_PVA_AUTO_ADDR_LIST", "NO")
os.environ.setdefault("EPICS_PVAS_INTF_ADDR_LIST", "127.0.0.1")

DETECTOR = (sys.executable, "-m", "charon.cli.main", "detector")


class Collector:
    """Keeps what a monitor hands over, and waits for more of it."""

    def __init__(self):
        self.items = []
        self.states = []
        self._changed = threading.Condition()

    def add(self, item):
        """Take an item."""
        with self._changed:
            self.items.append(item)
            self._changed.notify_all()

    def state(self, connected):
        """Take a change of the connection."""
        with self._changed:
            self.states.append(connected)
            self._changed.notify_all()

    def wait(self, condition, timeout_s=30.0):
        """Wait until `condition(self)` holds."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while not condition(self):
                left = end - time.monotonic()
                assert left > 0, f"in vain for {timeout_s} s: {len(self.items)} items, states {self.states}"
                self._changed.wait(left)


@pytest.fixture
def collector():
    return Collector()
