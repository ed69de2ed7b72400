"""Comparison of a stitched phase with an iterative reconstruction, on the held-out half of a Siemens star."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from charon.adapters.storage.nexus_reader import read_image

if TYPE_CHECKING:
    from pathlib import Path

PIXEL_M = 29e-9
# Patches centred at or beyond this column of the reconstruction are held out; training ends 64 px before it.
FIRST_HELD_OUT_COLUMN = 260


def compare_held_out(stitched: Path, folder: Path) -> dict[str, float]:
    """Return Pearson's r of a stitched phase against the rPIE phase on the held-out half.

    ``pos`` is the corner of a patch as (row, column) in pixels of the reconstruction; its centre is 64 pixels further.
    The compared area is the bounding box of the centres of the held-out patches.
    """
    image = read_image(stitched)
    assert image is not None
    with np.load(folder / "siemens-star-small_rpie.npz") as known:
        obj, pos, offset = known["obj"], known["pos"], known["scan_offset"]
    centres = pos + 64.0
    held_out = centres[centres[:, 1] >= FIRST_HELD_OUT_COLUMN]
    rows = np.arange(np.ceil(held_out[:, 0].min()), np.floor(held_out[:, 0].max()) + 1)
    columns = np.arange(FIRST_HELD_OUT_COLUMN, np.floor(held_out[:, 1].max()) + 1)
    # The detector publishes the positions of the scan in m; the reconstruction adds an offset to them.
    shift = np.ravel(offset) + 64.0
    row_of = ((rows - shift[0]) * PIXEL_M - image.origin_m[1]) / image.pixel_m
    column_of = ((columns - shift[1]) * PIXEL_M - image.origin_m[0]) / image.pixel_m
    grid = np.meshgrid(row_of, column_of, indexing="ij")
    real, imaginary = (
        ndimage.map_coordinates(part, grid, order=1) for part in (image.transmission.real, image.transmission.imag)
    )
    truth = np.angle(obj[np.ix_(rows.astype(int), columns.astype(int))] / np.exp(1j * np.angle(obj.mean())))
    phase = np.arctan2(imaginary, real)
    return {"pearson_r": float(np.corrcoef(phase.ravel(), truth.ravel())[0, 1]), "pixels": phase.size}
