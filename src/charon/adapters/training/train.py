"""Train a network: simulate pairs, train, export the bundle."""

# pyright: basic, reportMissingImports=false
# PyTorch is an optional dependency; without it, strict mode would report unknown types.
from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import torch

from charon.adapters.inference.bundle import Bundle, write_bundle
from charon.adapters.inference.card import InputCard, ModelCard, OutputCard, PatchCard
from charon.adapters.models.graph import build_model
from charon.adapters.training.dataset import load_or_simulate
from charon.adapters.training.fit import Fit, FitResult, Loss
from charon.adapters.training.network import Network
from charon.adapters.training.training_setup import TrainingSetup, make_setup
from charon.science.simulation import energy_diameter

if TYPE_CHECKING:
    from collections.abc import Callable

    from charon.adapters.models.normalisation import SqrtStandardise
    from charon.adapters.training.options import TrainOptions

_UNITS = {"phase": "rad", "amplitude": "1"}
_NORMALISATION = (
    "counts over their frame's mean, square root, minus mean and over deviation of the training patterns, per pixel"
)


def train(options: TrainOptions, report: Callable[[str], None] = print) -> Bundle:
    """Train a network on simulated pairs and write its bundle.

    Parameters
    ----------
    options
        Architecture, data, duration and output folder.
    report
        Callback for progress, called with one line at a time.

    Raises
    ------
    ValueError
        If options contradict each other, or the probe file is invalid.
    """
    setup = make_setup(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    work = options.out_dir / "work"
    data = load_or_simulate(setup, options, work, report)
    network = Network(setup.architecture)
    normalisation = data.normalisation()
    loss = Loss(setup.illumination)
    fit = Fit(network, data, normalisation, loss=loss, options=options, checkpoint=work / "checkpoint.pt")
    result = fit.run(report)
    bundle = export(network, normalisation, setup, options=options, result=result)
    report(f"wrote {bundle.path}")
    return bundle


def export(
    network: Network,
    normalisation: SqrtStandardise,
    setup: TrainingSetup,
    *,
    options: TrainOptions,
    result: FitResult,
) -> Bundle:
    """Write a trained network as a bundle whose graph includes the normalisation.

    Parameters
    ----------
    network, normalisation, setup
        The trained network and its input.
    options, result
        Options and result of the training; `options.out_dir` is the folder of the bundle.
    """
    model = build_model(
        setup.architecture,
        network.weights(),
        normalisation,
        setup.geometry.output_shape,
        half_precision_weights=True,
        free_offset=setup.stitching_weight.astype("float32") if options.free_offset else None,
    )
    diameter_m = energy_diameter(setup.probe, setup.instrument.object_pixel_m)
    card = ModelCard(
        name=options.name,
        version=options.version,
        sha256="0" * 64,
        input=InputCard(
            detector_shape=setup.instrument.detector_shape,
            crop=setup.geometry.crop,
            binning=setup.geometry.binning,
            shape=setup.geometry.output_shape,
            normalisation=_NORMALISATION,
        ),
        outputs=tuple(
            OutputCard.model_validate({"name": output, "kind": output, "unit": _UNITS[output]})
            for _, output, _ in setup.architecture.decoders
        ),
        patch=PatchCard(
            shape=setup.patch_shape,
            pixel_m=setup.pixel_m,
            offset="free" if options.free_offset else "absolute",
            weight_radius_m=diameter_m / 2,
            weight_profile=setup.weight_profile(free_offset=options.free_offset),
        ),
        training={
            "recipe": options.to_json(),
            "architecture": setup.architecture.name,
            "data": "simulated pairs of random shapes",
            "steps": result.steps,
            "duration_s": round(result.duration_s),
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        },
        quality={
            "validation_shape_error_rad": round(result.shape_error_rad, 5),
            "validation_offset_error_rad": round(result.offset_error_rad, 5),
        },
    )
    return write_bundle(options.out_dir, model.SerializeToString(), card)
