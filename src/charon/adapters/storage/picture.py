"""Render phases as PNG files with a colour bar and a scale bar, alone or next to the ground truth."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_BACKGROUND = (16, 18, 24)
_EMPTY = (30, 33, 42)
_INK = (228, 231, 238)
_FAINT = (150, 156, 170)
_CONTRAST_PERCENTILES = (1.0, 99.0)
_MIN_SIDE, _MAX_SIDE = 640, 1600
_BAR_WIDTH = 16

# Black, blue, teal, sand, white as (percent, R, G, B). The lightness (CIE L*) increases evenly, so equal steps of
# phase look equal, also in greyscale.
_COLOUR_MAP = (
    (0, 6, 8, 20),
    (20, 27, 38, 88),
    (40, 30, 90, 125),
    (60, 70, 150, 140),
    (80, 196, 194, 150),
    (100, 255, 252, 240),
)


@dataclass(frozen=True, slots=True)
class Contrast:
    """Phases in rad at the ends of the colour map."""

    low: float
    high: float


def phase_contrast(phase: NDArray[np.floating]) -> Contrast:
    """Return the 1st and the 99th percentile of the finite phases, widened if they are equal."""
    known = phase[np.isfinite(phase)]
    if not known.size:
        return Contrast(0.0, 1.0)
    low, high = (float(p) for p in np.percentile(known, _CONTRAST_PERCENTILES))
    return Contrast(low, high) if high - low > 1e-6 else Contrast(low - 0.5, high + 0.5)


def write_png(path: Path, phase: NDArray[np.floating], pixel_m: float, title: str = "", note: str = "") -> None:
    """Write a picture of a phase; a reader sees either the previous file or the new one.

    Parameters
    ----------
    path
        Path of the file.
    phase
        Phase in rad, (row, column); NaN where unknown.
    pixel_m
        Pixel size in m.
    title, note
        Text above the image, at the left and at the right.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    contrast = phase_contrast(phase)
    panel = _panel(phase[_known_box(np.isfinite(phase))], contrast, pixel_m)
    _save(path, _framed([(title, panel)], contrast, note))


def write_comparison_png(
    path: Path,
    stitched: NDArray[np.floating],
    truth: NDArray[np.floating],
    pixel_m: float,
    *,
    titles: tuple[str, str] = ("stitched", "truth"),
    note: str = "",
) -> None:
    """Write a picture of the stitched phase next to the ground truth, on the same scale.

    A phase is known up to a constant, so the median over the common pixels is subtracted from each.

    Parameters
    ----------
    path
        Path of the file.
    stitched, truth
        Phase in rad, (row, column), of the same shape; NaN where unknown.
    pixel_m
        Pixel size in m.
    titles
        Text above the two images.
    note
        Text at the right.

    Raises
    ------
    ValueError
        If the shapes differ.
    OSError
        If the file cannot be written.
    """
    if stitched.shape != truth.shape:
        raise ValueError(f"shapes differ: stitched {stitched.shape}, truth {truth.shape}")
    known = np.isfinite(stitched) & np.isfinite(truth)
    if known.any():
        stitched = stitched - np.median(stitched[known])
        truth = truth - np.median(truth[known])
    contrast = phase_contrast(np.where(known, truth, np.nan))
    box = _known_box(known)
    stitched, truth = stitched[box], truth[box]
    panels = [(titles[0], _panel(stitched, contrast, pixel_m)), (titles[1], _panel(truth, contrast, pixel_m))]
    _save(path, _framed(panels, contrast, note))


def _known_box(known: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the bounding box of the known pixels."""
    rows, columns = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
    if not rows.size:
        return slice(None), slice(None)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _save(path: Path, picture: Image.Image) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        picture.save(temporary, format="PNG", compress_level=3)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _colour_map() -> NDArray[np.uint8]:
    """Return the colour map, (256, 3) uint8."""
    stops = np.array(_COLOUR_MAP, float)
    x = np.linspace(0.0, 100.0, 256)
    return np.stack([np.interp(x, stops[:, 0], stops[:, k]) for k in (1, 2, 3)], axis=1).round().astype(np.uint8)


def _to_rgb(phase: NDArray[np.floating], contrast: Contrast) -> NDArray[np.uint8]:
    known = np.isfinite(phase)
    level = (np.where(known, phase, contrast.low) - contrast.low) / (contrast.high - contrast.low)
    rgb = _colour_map()[(np.clip(level, 0.0, 1.0) * 255.0).round().astype(np.uint8)]
    rgb[~known] = _EMPTY
    return rgb


def _panel(phase: NDArray[np.floating], contrast: Contrast, pixel_m: float) -> Image.Image:
    """Return the coloured image, scaled to fit a screen, with its scale bar."""
    if not phase.size:
        phase = np.full((1, 1), np.nan)
    rows, columns = phase.shape
    shrink = max(1, math.ceil(max(rows, columns) / _MAX_SIDE))
    zoom = max(1, round(_MIN_SIDE / max(rows, columns))) if shrink == 1 else 1
    image = Image.fromarray(_to_rgb(phase, contrast))
    if shrink > 1:
        image = image.reduce(shrink)
    elif zoom > 1:
        image = image.resize((columns * zoom, rows * zoom), Image.Resampling.BICUBIC)
    _scale_bar(image, pixel_m * shrink / zoom)
    return image


def _scale_bar(image: Image.Image, pixel_m: float) -> None:
    """Draw a scale bar of a round length, at most a quarter of the image wide."""
    if image.width < 120 or image.height < 60:
        return
    length_m = _round_down(image.width * pixel_m / 4.0)
    width = round(length_m / pixel_m)
    left, bottom = 20, image.height - 20
    label = f"{length_m * 1e6:g} um" if length_m >= 0.5e-6 else f"{length_m * 1e9:g} nm"
    font = _font(17)
    draw = ImageDraw.Draw(image, "RGBA")
    text_width = draw.textlength(label, font)
    draw.rounded_rectangle(
        (left - 10, bottom - 36, left + max(width, text_width) + 10, bottom + 10), 5, fill=(*_BACKGROUND, 170)
    )
    draw.rectangle((left, bottom - 4, left + width, bottom), fill=_INK)
    draw.text((left + max(width, text_width) / 2, bottom - 8), label, _INK, font, anchor="ms")


def _round_down(value: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is at most `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(r for r in (5.0 * power, 2.0 * power, power) if r <= value * (1.0 + 1e-9))


def _framed(panels: list[tuple[str, Image.Image]], contrast: Contrast, note: str) -> Image.Image:
    """Arrange the panels in a row, with titles above and the colour bar on the right."""
    margin, gap, header, sidebar = 24, 20, 48, 96
    height = max(panel.height for _, panel in panels)
    width = sum(panel.width for _, panel in panels) + gap * (len(panels) - 1)
    picture = Image.new("RGB", (margin + width + sidebar, header + height + margin), _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    left = margin
    for title, panel in panels:
        picture.paste(panel, (left, header))
        draw.text((left, header - 15), title, _INK, _font(19), anchor="ls")
        left += panel.width + gap
    if note:
        draw.text((margin + width, header - 15), note, _FAINT, _font(15), anchor="rs")
    _colour_bar(picture, (margin + width + 20, header), height, contrast)
    return picture


def _colour_bar(picture: Image.Image, corner: tuple[int, int], height: int, contrast: Contrast) -> None:
    ramp = np.repeat(np.linspace(contrast.high, contrast.low, height)[:, None], _BAR_WIDTH, axis=1)
    picture.paste(Image.fromarray(_to_rgb(ramp, contrast)), corner)
    draw = ImageDraw.Draw(picture)
    x = corner[0] + _BAR_WIDTH
    step = _round_down((contrast.high - contrast.low) / 2.0)
    for k in range(math.ceil(contrast.low / step), math.floor(contrast.high / step) + 1):
        y = corner[1] + (contrast.high - k * step) / (contrast.high - contrast.low) * (height - 1)
        draw.line((x, y, x + 5, y), fill=_FAINT)
        draw.text((x + 9, y), f"{k * step:.4g}", _FAINT, _font(14), anchor="lm")
    draw.text((corner[0] + _BAR_WIDTH / 2, corner[1] - 15), "rad", _FAINT, _font(15), anchor="ms")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    # The font that Pillow bundles is the same on every machine; it lacks the micro and the minus sign.
    return ImageFont.load_default(size)
