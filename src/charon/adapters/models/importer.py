"""Import published weights: write a bundle whose graph contains network and pre-processing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from charon.adapters.inference.bundle import Bundle, BundleError, file_sha256, write_bundle
from charon.adapters.inference.card import InputCard, ModelCard, OutputCard, PatchCard
from charon.adapters.models.architecture import ptychonn2
from charon.adapters.models.graph import build_model
from charon.adapters.models.normalisation import Normalisation, RawCounts, Standardise
from charon.adapters.models.resize import resize_matrix
from charon.adapters.models.state_dict import StateDictError, read_state_dict

if TYPE_CHECKING:
    from pathlib import Path

PublishedForm: TypeAlias = Literal["ptychonn2", "ptychonn2-norm"]

_PATCH_SHAPE = (128, 128)
_CROP_SIZE = 512
_NORM_CROP_SIZE = 384
_NORM_THRESHOLD = 3.0


@dataclass(frozen=True)
class ImportOptions:
    """Options of an import.

    Parameters
    ----------
    form
        ``ptychonn2``: frames are mean-binned 4 x 4. ``ptychonn2-norm``: with batch normalisation; the central
        384 x 384 pixels are resized with anti-aliasing, thresholded and standardised.
    detector_shape
        Rows and columns of the frames. For ``ptychonn2``, the central 512 x 512 pixels are used.
    pixel_m
        Pixel size of the patches in m.
    reference
        For ``ptychonn2-norm``: an .npz file with the frames ``reciprocal`` (N, rows, columns) from which mean
        and standard deviation are computed.
    name, version
        Name and version of the bundle.
    """

    form: PublishedForm = "ptychonn2"
    detector_shape: tuple[int, int] = (512, 512)
    pixel_m: float = 10e-9
    reference: Path | None = None
    name: str = "imported"
    version: str = "1"


def import_weights(weights_path: Path, out_dir: Path, options: ImportOptions | None = None) -> Bundle:
    """Convert a published PyTorch state dict to a bundle, without PyTorch.

    Parameters
    ----------
    weights_path
        A .pth file.
    out_dir
        Folder of the bundle.
    options
        Architecture, geometry and name.

    Raises
    ------
    BundleError
        If the file is not a state dict, its weights do not fit the architecture, or the detector is too small.
    """
    options = options or ImportOptions()
    architecture = ptychonn2(norm=options.form == "ptychonn2-norm")
    normalisation, crop, binning, description = _preprocessing(options)
    shape = (crop[2] // binning, crop[3] // binning)
    try:
        model = build_model(architecture, read_state_dict(weights_path), normalisation, shape)
    except StateDictError as error:
        raise BundleError(str(error)) from error
    except ValueError as error:
        raise BundleError(f"{weights_path}: cannot import as {options.form}: {error}") from error
    card = ModelCard(
        name=options.name,
        version=options.version,
        sha256="0" * 64,
        input=InputCard(
            detector_shape=options.detector_shape, crop=crop, binning=binning, shape=shape, normalisation=description
        ),
        outputs=(OutputCard(name="phase", kind="phase", unit="rad"),),
        patch=PatchCard(shape=_PATCH_SHAPE, pixel_m=options.pixel_m, offset="absolute"),
        training={"form": options.form, "weights": weights_path.name, "weights_sha256": file_sha256(weights_path)},
    )
    return write_bundle(out_dir, model.SerializeToString(), card)


def _preprocessing(options: ImportOptions) -> tuple[Normalisation, tuple[int, int, int, int], int, str]:
    if options.form == "ptychonn2":
        return RawCounts(), _central_crop(options.detector_shape, _CROP_SIZE), 4, "none: mean-binned counts"
    if options.reference is None:
        raise BundleError(
            "form ptychonn2-norm needs reference frames for mean and standard deviation; add --reference FILE.npz"
        )
    crop = _central_crop(options.detector_shape, _NORM_CROP_SIZE)
    resize = resize_matrix(_NORM_CROP_SIZE, _PATCH_SHAPE[0])
    mean, deviation = _statistics(options.reference, crop, resize)
    description = (
        "anti-aliased resize 384 to 128, below 3 set to 0, minus mean, over standard deviation of the reference"
    )
    return Standardise(resize, _NORM_THRESHOLD, mean, deviation), crop, 1, description


def _central_crop(detector_shape: tuple[int, int], size: int) -> tuple[int, int, int, int]:
    rows, columns = detector_shape
    if rows < size or columns < size:
        raise BundleError(
            f"detector shape {rows}x{columns} is too small; this form needs at least {size}x{size} pixels"
        )
    return (rows - size) // 2, (columns - size) // 2, size, size


def _statistics(
    reference: Path, crop: tuple[int, int, int, int], resize: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], float]:
    """Return the mean of the resized reference frames, and the standard deviation from it."""
    try:
        with np.load(reference) as file:
            frames = np.asarray(file["reciprocal"], np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{reference}: cannot read reference frames (array 'reciprocal'): {error}") from error
    row, column, height, width = crop
    if frames.ndim != 3 or frames.shape[1] < row + height or frames.shape[2] < column + width:
        raise BundleError(f"{reference}: frames of shape {frames.shape} are too small for the crop {crop}")
    resized = resize @ frames[:, row : row + height, column : column + width] @ resize.T
    resized[resized < _NORM_THRESHOLD] = 0.0
    mean = resized.mean(axis=0)
    # As published: the standard deviation after subtraction of the mean frame.
    return mean.astype(np.float32), float(np.std(resized - mean))
