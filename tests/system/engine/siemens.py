"""The measured Siemens star's held-out half: a stitched phase against the iterative reconstruction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from charon.adapters.storage.nexus_reader import read_image

if TYPE_CHECKING:
    from pathlib import Path

PIXEL_M = 29e-9
# Patches whose centre lies at this column of the reconstruction or beyond are held out; training stops 64 px before.
FIRST_HELD_OUT_COLUMN = 260


def compare_held_out(stitched: Path, folder: Path) -> dict[str, float]:
    """Return Pearson's r of a stitched phase against the rPIE phase on the held-out half.

    The reconstruction's pixel (row, column) is the corner of a patch at ``pos``; the patch's centre is 64 pixels
    further. Compared is the box that the held-out patches' centres span.
    """
    image = read_image(stitched)
    assert image is not None
    with np.load(folder / "siemens-star-small_rpie.npz") as known:
        obj, pos, offset = known["obj"], known["pos"], known["scan_offset"]
    centres = pos + 64.0
    held_out = centres[centres[:, 1] >= FIRST_HELD_OUT_COLUMN]
    rows = np.arange(np.ceil(held_out[:, 0].min()), np.floor(held_out[:, 0].max()) + 1)
    columns = np.arange(FIRST_HELD_OUT_COLUMN, np.floor(held_out[:, 1].max()) + 1)
    # The detector's positions are the scan's own, in m; the reconstruction's are the scan plus an offset.
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
