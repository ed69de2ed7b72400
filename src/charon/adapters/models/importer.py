"""Published weights as bundles: their network, their pre-processing, in one graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from charon.adapters.inference.bundle import (
    Bundle,
    BundleError,
    InputCard,
    ModelCard,
    OutputCard,
    PatchCard,
    file_sha256,
    write_bundle,
)
from charon.adapters.models import plan as plans
from charon.adapters.models.graph import Counts, Normalisation, Standardise, build_model
from charon.adapters.models.resize import antialiased_resize
from charon.adapters.models.state_dict import StateDictError, read_state_dict

if TYPE_CHECKING:
    from pathlib import Path

PublishedForm: TypeAlias = Literal["ptychonn2", "ptychonn2-norm"]

_PATCH_SHAPE = (128, 128)
_NORM_CROP = (64, 64, 384, 384)
_NORM_THRESHOLD = 3.0


@dataclass(frozen=True)
class ImportOptions:
    """How published weights are to be used.

    Parameters
    ----------
    form
        ``ptychonn2``: frames binned 4 x 4 by the mean. ``ptychonn2-norm``: with batch normalisation; the middle
        384 x 384 of 512 x 512 pixels, resized with anti-aliasing, thresholded and standardised.
    detector_shape
        Of the frames; for ``ptychonn2``, what exceeds 512 pixels is cropped evenly.
    pixel_m
        Side of a reconstructed pixel.
    reference
        For ``ptychonn2-norm``: an .npz file with frames in ``reciprocal`` (N, rows, columns), over which mean and
        standard deviation are taken.
    name, version
        Of the bundle.
    """

    form: PublishedForm = "ptychonn2"
    detector_shape: tuple[int, int] = (512, 512)
    pixel_m: float = 10e-9
    reference: Path | None = None
    name: str = "imported"
    version: str = "1"


def import_weights(weights_path: Path, out_dir: Path, options: ImportOptions | None = None) -> Bundle:
    """Turn a published PyTorch state dict into a bundle; PyTorch is not needed.

    Parameters
    ----------
    weights_path
        A .pth file.
    out_dir
        The bundle's folder.
    options
        Form, geometry and name.

    Raises
    ------
    BundleError
        If the file is no state dict, its weights are of another form, or the geometry does not fit.
    """
    options = options or ImportOptions()
    plan = plans.ptychonn2(norm=options.form == "ptychonn2-norm")
    normalisation, crop, binning, words = _preprocessing(options)
    shape = (crop[2] // binning, crop[3] // binning)
    try:
        model = build_model(plan, read_state_dict(weights_path), normalisation, shape)
    except (StateDictError, ValueError) as error:
        raise BundleError(f"{weights_path} cannot be imported as {options.form}: {error}") from error
    card = ModelCard(
        name=options.name,
        version=options.version,
        sha256="0" * 64,
        input=InputCard(
            detector_shape=options.detector_shape, crop=crop, binning=binning, shape=shape, normalisation=words
        ),
        outputs=(OutputCard(name="phase", kind="phase", unit="rad"),),
        patch=PatchCard(shape=_PATCH_SHAPE, pixel_m=options.pixel_m, offset="absolute"),
        training={"form": options.form, "weights": weights_path.name, "weights_sha256": file_sha256(weights_path)},
    )
    return write_bundle(out_dir, model.SerializeToString(), card)


def _preprocessing(options: ImportOptions) -> tuple[Normalisation, tuple[int, int, int, int], int, str]:
    if options.form == "ptychonn2":
        return Counts(), _central_crop(options.detector_shape, 512), 4, "none: mean-binned counts"
    if options.reference is None:
        raise BundleError(
            "ptychonn2-norm standardises its input: name the reference frames to take mean and "
            "standard deviation from (--reference FILE.npz)"
        )
    crop = _central_crop(options.detector_shape, _NORM_CROP[2])
    resize = antialiased_resize(_NORM_CROP[2], _PATCH_SHAPE[0])
    mean, deviation = _statistics(options.reference, crop, resize)
    words = "anti-aliased resize 384 to 128, below 3 set to 0, minus mean, over standard deviation of the reference"
    return Standardise(resize, _NORM_THRESHOLD, mean, deviation), crop, 1, words


def _central_crop(detector_shape: tuple[int, int], size: int) -> tuple[int, int, int, int]:
    rows, columns = detector_shape
    if rows < size or columns < size:
        raise BundleError(f"the detector's shape {detector_shape} is smaller than the {size} pixels that are used")
    return (rows - size) // 2, (columns - size) // 2, size, size


def _statistics(
    reference: Path, crop: tuple[int, int, int, int], resize: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], float]:
    """Return the mean of the reference's frames after resampling, and the deviation from it."""
    try:
        with np.load(reference) as file:
            frames = np.asarray(file["reciprocal"], np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{reference} cannot be read as reference frames ('reciprocal'): {error}") from error
    row, column, height, width = crop
    if frames.ndim != 3 or frames.shape[1] < row + height or frames.shape[2] < column + width:
        raise BundleError(f"the frames of {reference} are {frames.shape}, too small for the crop {crop}")
    small = resize @ frames[:, row : row + height, column : column + width] @ resize.T
    small[small < _NORM_THRESHOLD] = 0.0
    mean = small.mean(axis=0)
    # As published: the deviation of what is left after the mean frame is subtracted.
    return mean.astype(np.float32), float(np.std(small - mean))
