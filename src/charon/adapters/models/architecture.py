"""Network architectures: training builds PyTorch modules from them, export builds ONNX graphs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from charon.adapters.models.layers import (
    BATCH_NORM_PARAMETERS,
    AddSkip,
    BatchNorm,
    Conv,
    DepthToSpace,
    MaxPool,
    Relu,
    SaveSkip,
    ScaledTanh,
    Sigmoid,
    SpaceToDepth,
    Stage,
    Upsample,
)


@dataclass(frozen=True)
class Architecture:
    """An encoder, and a decoder for each output.

    Weights are named ``stage.index.weight``, where the index is the position of the layer in its stage, as
    in PyTorch's ``Sequential``. Published weights therefore load by name.

    Parameters
    ----------
    name
        Name of the architecture.
    encoder
        Layers from (N, 1, rows, columns) to features.
    decoders
        For each output: name of the stage, name of the output ("phase" or "amplitude"), layers.
    """

    name: str
    encoder: Stage
    decoders: tuple[tuple[str, str, Stage], ...]

    @property
    def stages(self) -> tuple[tuple[str, Stage], ...]:
        """Name and layers of every stage."""
        return (("encoder", self.encoder), *((stage, layers) for stage, _, layers in self.decoders))

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight by name."""
        shapes: dict[str, tuple[int, ...]] = {}
        for stage, layers in self.stages:
            for index, layer in enumerate(layers):
                key = f"{stage}.{index}"
                if isinstance(layer, Conv):
                    shapes[f"{key}.weight"] = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
                    shapes[f"{key}.bias"] = (layer.outputs,)
                elif isinstance(layer, BatchNorm):
                    for part in BATCH_NORM_PARAMETERS:
                        shapes[f"{key}.{part}"] = (layer.channels,)
        return shapes


def _convolve(inputs: int, outputs: int, *, norm: bool) -> Stage:
    return (Conv(inputs, outputs), BatchNorm(outputs), Relu()) if norm else (Conv(inputs, outputs), Relu())


def _encode(widths: tuple[int, ...], *, norm: bool) -> Stage:
    layers: Stage = ()
    inputs = 1
    for width in widths:
        layers += (*_convolve(inputs, width, norm=norm), *_convolve(width, width, norm=norm), MaxPool())
        inputs = width
    return layers


def _decode(inputs: int, widths: tuple[int, ...], *, norm: bool) -> Stage:
    layers: Stage = ()
    for width in widths:
        layers += (*_convolve(inputs, width, norm=norm), *_convolve(width, width, norm=norm), Upsample())
        inputs = width
    return (*layers, Conv(inputs, 1))


def ptychonn2(*, norm: bool = False, bounded: bool = True) -> Architecture:
    """Return PtychoNN 2.0: from 128 x 128 pixels to a phase of 128 x 128, with 16 to 128 channels.

    Parameters
    ----------
    norm
        Whether batch normalisation follows each convolution, as in a published variant.
    bounded
        Whether the phase is pi times tanh of the last convolution, as published, or the convolution itself.

    References
    ----------
    Babu et al., Nature Communications 14, 7059 (2023), doi:10.1038/s41467-023-41496-z.
    """
    decoder = _decode(128, (128, 64, 32, 16), norm=norm)
    if bounded:
        decoder = (*decoder, ScaledTanh(math.pi))
    return Architecture(
        "ptychonn2-norm" if norm else "ptychonn2",
        _encode((16, 32, 64, 128), norm=norm),
        (("decoder2", "phase", decoder),),
    )


def two_headed(*, norm: bool = True) -> Architecture:
    """Return the first PtychoNN: from 64 x 64 pixels to amplitude and phase of 64 x 64, with 32 to 128 channels.

    The phase is unbounded, unlike in the publication: training is then faster on the narrow range of one sample.

    References
    ----------
    Cherukara et al., Applied Physics Letters 117, 044103 (2020), doi:10.1063/5.0013065.
    """
    amplitude = (*_decode(128, (128, 64, 32), norm=norm), Sigmoid())
    phase = _decode(128, (128, 64, 32), norm=norm)
    return Architecture(
        "two-headed",
        _encode((32, 64, 128), norm=norm),
        (("decoder1", "amplitude", amplitude), ("decoder2", "phase", phase)),
    )


def live() -> Architecture:
    """Return the architecture for live use without a GPU: 94 million multiplications instead of 315 (PtychoNN 2.0).

    PtychoNN 2.0 spends two thirds of its multiplications at 64 x 64 and 128 x 128 pixels with few channels,
    where the receptive field is small. Here the first layer rearranges squares of 4 x 4 pixels into channels,
    and the last one reverses it. Skip connections add the encoder's features to the decoder's: the pattern of
    a defocused probe is a shadow image of the sample, so that pixels of pattern and patch correspond.
    """
    return Architecture("live", _slim_encoder(4), (("decoder2", "phase", _slim_decoder(4)),))


def two_headed_live() -> Architecture:
    """Return the counterpart of `live` with amplitude and phase of 64 x 64 pixels, like the first PtychoNN."""
    amplitude = (*_slim_decoder(2), Sigmoid())
    heads = (("decoder1", "amplitude", amplitude), ("decoder2", "phase", _slim_decoder(2)))
    return Architecture("two-headed-live", _slim_encoder(2), heads)


def _slim_encoder(square: int) -> Stage:
    return (
        SpaceToDepth(square),
        *_convolve(square * square, 32, norm=True),
        *_convolve(32, 32, norm=True),
        SaveSkip("fine"),
        MaxPool(),
        *_convolve(32, 64, norm=True),
        *_convolve(64, 64, norm=True),
        SaveSkip("middle"),
        MaxPool(),
        *_convolve(64, 128, norm=True),
        *_convolve(128, 128, norm=True),
    )


def _slim_decoder(square: int) -> Stage:
    return (
        *_convolve(128, 128, norm=True),
        *_convolve(128, 64, norm=True),
        Upsample(),
        AddSkip("middle"),
        *_convolve(64, 64, norm=True),
        *_convolve(64, 32, norm=True),
        Upsample(),
        AddSkip("fine"),
        *_convolve(32, 32, norm=True),
        *_convolve(32, 32, norm=True),
        Conv(32, square * square),
        DepthToSpace(square),
    )
