"""The PvaPy baseline on one machine: a mirror server, and consumers that reconstruct its frames."""

from __future__ import annotations

from pathlib import Path


def processor_file() -> Path:
    """Return the path of the file for ``--processor-file``, with the class ``PtychographyProcessor``."""
    return Path(__file__).with_name("processor.py")


def stitch_processor_file() -> Path:
    """Return the path of the file for ``--processor-file``, with the class ``StitchProcessor``."""
    return Path(__file__).with_name("stitch_processor.py")
