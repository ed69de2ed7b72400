"""Read the stitched image from a scan's HDF5 file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from charon.science.stitch import StitchedImage

if TYPE_CHECKING:
    from pathlib import Path


def read_image(path: Path) -> StitchedImage | None:
    """Read the stitched image of a scan's file, which may still be open for writing.

    Returns
    -------
    The image; None if nothing has been stitched yet.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with h5py.File(path, "r", swmr=True) as file:
        group: Any = file["entry_1/image_1"]
        transmission = np.asarray(group["data"][()], np.complex64)
        if transmission.size == 0:
            return None
        weight = np.asarray(group["weight"][()], np.float32)
        return StitchedImage(
            phase=np.asarray(group["phase"][()], np.float32),
            amplitude=np.where(weight > 0, np.abs(transmission), np.nan).astype(np.float32),
            weight=weight,
            transmission=transmission,
            origin_m=(float(group["x"][0]), float(group["y"][0])),
            pixel_m=float(group["pixel_size"][()]),
        )
