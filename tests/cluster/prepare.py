"""Build the programs and images that the cluster tests need, and cache them."""

from __future__ import annotations

import os
import sys
import time

from onenode import parts


def main() -> int:
    """Build everything, or print the missing packages."""
    if os.environ.get("CHARON_TEST_KUBECONFIG"):
        return 0
    missing = parts.missing_packages()
    if missing:
        # The tests skip with the same message.
        print(f"the cluster tests need the packages {', '.join(missing)}", file=sys.stderr)
        return 0
    import images

    try:
        for build in (parts.programs, images.pause_archive, images.image_archive):
            start = time.monotonic()
            print(f"{build()} ({time.monotonic() - start:.0f} s)", flush=True)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
