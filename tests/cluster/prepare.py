"""Build what the cluster's tests need and do not build themselves, once: Kubernetes's programs and the images."""

from __future__ import annotations

import os
import sys
import time

from onenode import parts


def main() -> int:
    """Build; say what is missing where something is."""
    if os.environ.get("CHARON_TEST_KUBECONFIG"):
        return 0
    missing = parts.missing_packages()
    if missing:
        # The tests themselves skip, and name it again.
        print(f"the cluster's tests need the packages {', '.join(missing)}", file=sys.stderr)
        return 0
    import images

    try:
        for build in (parts.programs, images.pause_archive, images.image_archive):
            began = time.monotonic()
            print(f"{build()} ({time.monotonic() - began:.0f} s)", flush=True)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
