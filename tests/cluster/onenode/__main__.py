"""Start a cluster and keep it until Ctrl-C: `cd tests/cluster && python -m onenode`.

Tests then run on it, one after the other, with CHARON_TEST_KUBECONFIG set as it says.
"""

from __future__ import annotations

import signal
import sys
import time

import images

from onenode.cluster import started


def main() -> None:
    """Start, say how to use it, wait."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    began = time.monotonic()
    with started([images.pause_archive(), images.image_archive()]) as cluster:
        print(f"ready after {time.monotonic() - began:.1f} s; in another terminal:")
        print(f"export CHARON_TEST_KUBECONFIG={cluster.kubeconfig} PATH={cluster.layout.programs}:$PATH", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("ending")


if __name__ == "__main__":
    main()
