"""Start a cluster and keep it running until Ctrl-C: `cd tests/cluster && python -m onenode`.

It prints the value of CHARON_TEST_KUBECONFIG with which tests run on this cluster.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import images

from onenode.cluster import run_cluster


def main() -> None:
    """Start a cluster, print how to use it, and wait for a signal."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    start = time.monotonic()
    with run_cluster([images.pause_archive(), images.image_archive()]) as cluster:
        programs = Path(cluster.kubectl).parent
        print(f"ready after {time.monotonic() - start:.1f} s; in another terminal:")
        print(f"export CHARON_TEST_KUBECONFIG={cluster.kubeconfig} PATH={programs}:$PATH", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopping")


if __name__ == "__main__":
    main()
