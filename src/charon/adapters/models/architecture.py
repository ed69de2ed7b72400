"""What a network is made of, written once: training builds modules from it, export builds a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Conv:
    """A convolution with bias whose result is as large as its input."""

    inputs: int
    outputs: int
    kernel: int = 3


@dataclass(frozen=True)
class Norm:
    """Batch normalisation; at inference a scale and an offset a channel."""

    channels: int


@dataclass(frozen=True)
class Relu:
    """Set what is negative to 0."""


@dataclass(frozen=True)
class MaxPool:
    """Keep the largest of each 2 x 2 pixels."""


@dataclass(frozen=True)
class Upsample:
    """Twice the rows and columns, interpolated bilinearly between pixels' centres."""


@dataclass(frozen=True)
class SpaceToDepth:
    """Turn each square of `size` x `size` pixels into channels: nothing is lost, convolutions get cheap."""

    size: int


@dataclass(frozen=True)
class DepthToSpace:
    """Turn channels into squares of `size` x `size` pixels, the reverse of `SpaceToDepth`."""

    size: int


@dataclass(frozen=True)
class Tanh:
    """Hyperbolic tangent times a scale."""

    scale: float


@dataclass(frozen=True)
class Sigmoid:
    """Logistic function: between 0 and 1."""


@dataclass(frozen=True)
class Keep:
    """Remember what comes in under a label, and pass it on."""

    label: str


@dataclass(frozen=True)
class Add:
    """Add what was kept under a label."""

    label: str


Layer: TypeAlias = Conv | Norm | Relu | MaxPool | Upsample | SpaceToDepth | DepthToSpace | Tanh | Sigmoid | Keep | Add
Stage: TypeAlias = tuple[Layer, ...]


@dataclass(frozen=True)
class Plan:
    """An encoder and a decoder for each output.

    Weights are named ``stage.index.weight`` by the place of their layer in its stage, as PyTorch's
    ``Sequential`` does, so that published weights load by name.

    Parameters
    ----------
    name
        Of the form.
    encoder
        From (N, 1, rows, columns) to features.
    decoders
        Name of the stage and of the output ("phase" or "amplitude"), and its layers.
    """

    name: str
    encoder: Stage
    decoders: tuple[tuple[str, str, Stage], ...]

    @property
    def stages(self) -> tuple[tuple[str, Stage], ...]:
        """Every stage with its name."""
        return (("encoder", self.encoder), *((stage, layers) for stage, _, layers in self.decoders))

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight by its name."""
        shapes: dict[str, tuple[int, ...]] = {}
        for stage, layers in self.stages:
            for index, layer in enumerate(layers):
                key = f"{stage}.{index}"
                if isinstance(layer, Conv):
                    shapes[f"{key}.weight"] = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
                    shapes[f"{key}.bias"] = (layer.outputs,)
                elif isinstance(layer, Norm):
                    for part in ("weight", "bias", "running_mean", "running_var"):
                        shapes[f"{key}.{part}"] = (layer.channels,)
        return shapes


def _convolve(inputs: int, outputs: int, *, norm: bool) -> Stage:
    return (Conv(inputs, outputs), Norm(outputs), Relu()) if norm else (Conv(inputs, outputs), Relu())


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


def ptychonn2(*, norm: bool = False, bounded: bool = True) -> Plan:
    """Return PtychoNN 2.0: 128 x 128 to a phase of 128 x 128, 16 to 128 channels.

    Parameters
    ----------
    norm
        With batch normalisation after each convolution, a variant that was published too.
    bounded
        With the published end, pi times tanh; without, the last convolution is the phase.

    References
    ----------
    Babu et al., Nature Communications 14, 7059 (2023), doi:10.1038/s41467-023-41496-z.
    """
    decoder = _decode(128, (128, 64, 32, 16), norm=norm)
    if bounded:
        decoder = (*decoder, Tanh(3.141592653589793))
    return Plan(
        "ptychonn2-norm" if norm else "ptychonn2",
        _encode((16, 32, 64, 128), norm=norm),
        (("decoder2", "phase", decoder),),
    )


def two_headed(*, norm: bool = True) -> Plan:
    """Return the first PtychoNN: 64 x 64 to amplitude and phase of 64 x 64, 32 to 128 channels.

    Its phase is left unbounded here, which trains faster on one sample's narrow range.

    References
    ----------
    Cherukara et al., Applied Physics Letters 117, 044103 (2020), doi:10.1063/5.0013065.
    """
    amplitude = (*_decode(128, (128, 64, 32), norm=norm), Sigmoid())
    phase = _decode(128, (128, 64, 32), norm=norm)
    return Plan(
        "two-headed",
        _encode((32, 64, 128), norm=norm),
        (("decoder1", "amplitude", amplitude), ("decoder2", "phase", phase)),
    )


def live() -> Plan:
    """Return the form for live use without a GPU: PtychoNN 2.0's, but 94 rather than 315 million products.

    Two thirds of PtychoNN 2.0's work is done at 64 x 64 and 128 x 128 pixels with few channels, where a
    pattern's distant parts do not meet. Here squares of 4 x 4 pixels become channels at once, and turn
    back into pixels at the end. What the encoder saw is added again on the way up: the pattern of a
    defocused probe is a shadow image of the sample, so places correspond.
    """
    return Plan("live", _slim_encoder(4), (("decoder2", "phase", _slim_decoder(4)),))


def two_headed_live() -> Plan:
    """Return the two heads of the first PtychoNN, 64 x 64 to amplitude and phase, in the manner of `live`."""
    amplitude = (*_slim_decoder(2), Sigmoid())
    heads = (("decoder1", "amplitude", amplitude), ("decoder2", "phase", _slim_decoder(2)))
    return Plan("two-headed-live", _slim_encoder(2), heads)


def _slim_encoder(square: int) -> Stage:
    return (
        SpaceToDepth(square),
        *_convolve(square * square, 32, norm=True),
        *_convolve(32, 32, norm=True),
        Keep("fine"),
        MaxPool(),
        *_convolve(32, 64, norm=True),
        *_convolve(64, 64, norm=True),
        Keep("middle"),
        MaxPool(),
        *_convolve(64, 128, norm=True),
        *_convolve(128, 128, norm=True),
    )


def _slim_decoder(square: int) -> Stage:
    return (
        *_convolve(128, 128, norm=True),
        *_convolve(128, 64, norm=True),
        Upsample(),
        Add("middle"),
        *_convolve(64, 64, norm=True),
        *_convolve(64, 32, norm=True),
        Upsample(),
        Add("fine"),
        *_convolve(32, 32, norm=True),
        *_convolve(32, 32, norm=True),
        Conv(32, square * square),
        DepthToSpace(square),
    )
