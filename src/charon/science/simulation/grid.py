"""Coordinates of the pixels of a patch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def radius_from_centre(shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return the distance in pixels of each pixel from the centre, pixel (rows / 2, columns / 2).

    Parameters
    ----------
    shape
        Rows and columns.

    Returns
    -------
    ndarray
        (rows, columns) float64.
    """
    rows, columns = shape
    return np.hypot(np.arange(rows)[:, None] - rows / 2, np.arange(columns)[None, :] - columns / 2)
