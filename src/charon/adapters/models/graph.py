"""ONNX graphs from a plan and its weights, pre-processing included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from charon.adapters.models import plan as plans

if TYPE_CHECKING:
    from collections.abc import Mapping

Weights: TypeAlias = "Mapping[str, npt.NDArray[np.float32]]"

INPUT_NAME = "counts"
_OPSET = 18
# What OpenVINO and ONNX Runtime of 2024 read; nothing newer is used.
_IR_VERSION = 9
_NORM_EPSILON = 1e-5
_SMALLEST_MEAN = 1e-9


@dataclass(frozen=True)
class Counts:
    """Take the counts as they are."""


@dataclass(frozen=True, eq=False)
class Root:
    """Divide by the frame's mean and take the square root: the noise gets even, and the flux drops out.

    Then every pixel is standardised by what it was over the training patterns, which takes the
    illumination's own image away.

    Parameters
    ----------
    mean, deviation
        (rows, columns) float32.
    resize
        (rows, rows) and (columns, columns) float32, applied to the counts along each axis first; None for none.
    """

    mean: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]
    resize: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None


@dataclass(frozen=True, eq=False)
class Standardise:
    """Resample, set what is small to 0, subtract a mean and divide by a standard deviation.

    Parameters
    ----------
    resize
        (rows out, rows in) float32, applied along both axes; None for none.
    threshold
        Values below it become 0.
    mean
        (rows out, columns out) float32, or a scalar array.
    deviation
        One number.
    """

    resize: npt.NDArray[np.float32] | None
    threshold: float
    mean: npt.NDArray[np.float32]
    deviation: float


Normalisation: TypeAlias = Counts | Root | Standardise


def build_model(
    plan: plans.Plan,
    weights: Weights,
    normalisation: Normalisation,
    input_shape: tuple[int, int],
    *,
    half_precision_weights: bool = False,
    free_offset: npt.NDArray[np.float32] | None = None,
) -> onnx.ModelProto:
    """Build the graph that runs from counts to patches, with a dynamic batch.

    Parameters
    ----------
    plan
        The network.
    weights
        By the plan's names.
    normalisation
        What is done to the counts first.
    input_shape
        Rows and columns.
    half_precision_weights
        Store weights as float16, which halves the file; they are made float32 again when it is loaded, and
        all arithmetic is float32.
    free_offset
        (rows, columns) float32 of sum 1: each patch's phase has its mean, so weighted, subtracted; None leaves it.

    Returns
    -------
    ModelProto
        Input "counts" (N, rows, columns) float32, an output (N, rows, columns) float32 for each decoder.

    Raises
    ------
    ValueError
        If weights are missing, left over or of another shape.
    """
    check_weights(plan, weights)
    builder = _Builder(weights, half_precision=half_precision_weights)
    value = builder.normalise(INPUT_NAME, normalisation)
    features = builder.stage("encoder", plan.encoder, builder.node("Unsqueeze", value, builder.integers([1])))
    for stage, output, layers in plan.decoders:
        plane = builder.stage(stage, layers, features)
        if output == "phase" and free_offset is not None:
            weighted = builder.node("Mul", plane, builder.constant(free_offset))
            mean = builder.node("ReduceSum", weighted, builder.integers([2, 3]), keepdims=1)
            plane = builder.node("Sub", plane, mean)
        builder.node("Squeeze", plane, builder.integers([1]), name=output)
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", None, None]) for _, name, _ in plan.decoders
    ]
    inputs = [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["batch", *input_shape])]
    graph = helper.make_graph(builder.nodes, plan.name, inputs, outputs, builder.constants)
    opset = helper.make_opsetid("", _OPSET)
    model = helper.make_model(graph, opset_imports=[opset], producer_name="charon", ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    return onnx.shape_inference.infer_shapes(model)


def check_weights(plan: plans.Plan, weights: Weights) -> None:
    """Raise a ValueError unless the weights are those of the plan, all and no more."""
    shapes = plan.parameter_shapes()
    missing = sorted(shapes.keys() - weights.keys())
    unknown = sorted(weights.keys() - shapes.keys())
    if missing or unknown:
        raise ValueError(f"weights do not fit {plan.name}: missing {missing[:4]}, unknown {unknown[:4]}")
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise ValueError(f"weights do not fit {plan.name}: {name} is {weights[name].shape}, not {shape}")


class _Builder:
    """Collects nodes and constants; every method returns the name of a value."""

    def __init__(self, weights: Weights, *, half_precision: bool) -> None:
        self._weights = weights
        self._half_precision = half_precision
        self._kept: dict[str, str] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, name: str | None = None, **attributes: object) -> str:
        output = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))  # pyright: ignore[reportArgumentType]
        return output

    def constant(self, value: npt.ArrayLike) -> str:
        name = f"constant_{len(self.constants)}"
        array = np.ascontiguousarray(value, np.float32).reshape(np.shape(value))
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def integers(self, values: list[int]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def normalise(self, value: str, how: Normalisation) -> str:
        match how:
            case Counts():
                return value
            case Root():
                mean = self.node("ReduceMean", value, self.integers([1, 2]), keepdims=1)
                mean = self.node("Max", mean, self.constant(_SMALLEST_MEAN))
                value = self.node("Div", value, mean)
                if how.resize is not None:
                    value = self.node("MatMul", self.constant(how.resize[0]), value)
                    value = self.node("MatMul", value, self.constant(how.resize[1].T))
                root = self.node("Sqrt", self.node("Relu", value))
                return self.node("Div", self.node("Sub", root, self.constant(how.mean)), self.constant(how.deviation))
            case Standardise():
                if how.resize is not None:
                    value = self.node("MatMul", self.constant(how.resize), value)
                    value = self.node("MatMul", value, self.constant(how.resize.T))
                small = self.node("Less", value, self.constant(how.threshold))
                value = self.node("Where", small, self.constant(0.0), value)
                value = self.node("Sub", value, self.constant(how.mean))
                return self.node("Div", value, self.constant(how.deviation))

    def stage(self, stage: str, layers: plans.Stage, value: str) -> str:
        for index, layer in enumerate(layers):
            following = layers[index + 1] if index + 1 < len(layers) else None
            folded = f"{stage}.{index + 1}" if isinstance(following, plans.Norm) else None
            value = self._layer(f"{stage}.{index}", layer, folded, value)
        return value

    def _layer(self, key: str, layer: plans.Layer, norm: str | None, value: str) -> str:  # noqa: C901, PLR0911 - one branch for each kind of layer
        match layer:
            case plans.Conv():
                weight, bias = self._convolution(key, norm)
                edge = layer.kernel // 2
                return self.node("Conv", value, weight, bias, pads=[edge] * 4, kernel_shape=[layer.kernel] * 2)
            case plans.Norm():
                return value  # folded into the convolution before it
            case plans.Relu():
                return self.node("Relu", value)
            case plans.MaxPool():
                return self.node("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2])
            case plans.Upsample():
                scales = self.constant([1.0, 1.0, 2.0, 2.0])
                mode = "pytorch_half_pixel"
                return self.node("Resize", value, "", scales, mode="linear", coordinate_transformation_mode=mode)
            case plans.SpaceToDepth():
                return self.node("SpaceToDepth", value, blocksize=layer.size)
            case plans.DepthToSpace():
                return self.node("DepthToSpace", value, blocksize=layer.size, mode="CRD")
            case plans.Tanh():
                return self.node("Mul", self.node("Tanh", value), self.constant(layer.scale))
            case plans.Sigmoid():
                return self.node("Sigmoid", value)
            case plans.Keep():
                self._kept[layer.label] = value
                return value
            case plans.Add():
                return self.node("Add", value, self._kept[layer.label])

    def _convolution(self, key: str, norm: str | None) -> tuple[str, str]:
        """Return weight and bias, those of a normalisation that follows multiplied in."""
        weight = self._weights[f"{key}.weight"].astype(np.float64)
        bias = self._weights[f"{key}.bias"].astype(np.float64)
        if norm is not None:
            part = {name: self._weights[f"{norm}.{name}"].astype(np.float64) for name in _NORM_PARTS}
            scale = part["weight"] / np.sqrt(part["running_var"] + _NORM_EPSILON)
            weight = weight * scale[:, None, None, None]
            bias = (bias - part["running_mean"]) * scale + part["bias"]
        if not self._half_precision:
            return self.constant(weight), self.constant(bias)
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(weight.astype(np.float16), name))
        return self.node("Cast", name, to=TensorProto.FLOAT), self.constant(bias)


_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
