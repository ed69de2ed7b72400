"""Print the `uniqueId` of each update of a channel, from each of several servers."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from charon.adapters.pvaccess import FrameMonitor, RawUpdate


def read(channel: str, server: str) -> None:
    """Print lines of a server's address and an id, until the process is killed."""

    def on_update(raw: RawUpdate) -> None:
        # One write per line: print writes the end of the line separately, which another process may precede.
        sys.stdout.write(f"{server} {raw.identify().unique_id}\n")

    FrameMonitor(channel, on_update, lambda _: None).start()
    time.sleep(3600)


def main(channel: str, servers: list[str]) -> None:
    """Start a process per server: a client uses one server of a channel, and EPICS reads its variables once."""
    command = [sys.executable, __file__, "read", channel]
    processes = [
        subprocess.Popen([*command, server], env={**os.environ, "EPICS_PVA_ADDR_LIST": server}) for server in servers
    ]
    for process in processes:
        process.wait()


if __name__ == "__main__":
    if sys.argv[1] == "read":
        read(*sys.argv[2:])
    else:
        main(sys.argv[1], sys.argv[2:])
