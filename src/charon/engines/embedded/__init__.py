"""A pipeline on one machine: supervised processes and a nats-server."""

from charon.engines.embedded.engine import EmbeddedEngine
from charon.engines.embedded.options import Options
from charon.engines.embedded.run_file import RunInfo, find_run, find_runs
from charon.engines.embedded.snapshot import Snapshot, read_snapshot
from charon.engines.embedded.supervision import EngineError
from charon.engines.embedded.worker import work

__all__ = [
    "EmbeddedEngine",
    "EngineError",
    "Options",
    "RunInfo",
    "Snapshot",
    "find_run",
    "find_runs",
    "read_snapshot",
    "work",
]
