"""Recorded scans: frames and positions from the file formats that beamlines use."""

from charon.adapters.recordings.arrays import is_recording
from charon.adapters.recordings.positions import Order, read_positions
from charon.adapters.recordings.recording import Recording, join, open_recording

__all__ = ["Order", "Recording", "is_recording", "join", "open_recording", "read_positions"]
