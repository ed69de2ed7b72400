"""Build ONNX graphs from an architecture and its weights, including the pre-processing."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from charon.adapters.models.layers import (
    BATCH_NORM_PARAMETERS,
    AddSkip,
    BatchNorm,
    Conv,
    DepthToSpace,
    Layer,
    MaxPool,
    Relu,
    SaveSkip,
    ScaledTanh,
    Sigmoid,
    SpaceToDepth,
    Stage,
    Upsample,
)
from charon.adapters.models.normalisation import Normalisation, RawCounts, SqrtStandardise, Standardise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from charon.adapters.models.architecture import Architecture

Weights: TypeAlias = "Mapping[str, npt.NDArray[np.float32]]"

INPUT_NAME = "counts"
_OPSET = 18
# The version that OpenVINO and ONNX Runtime read since 2024; the graphs need nothing newer.
_IR_VERSION = 9
_NORM_EPSILON = 1e-5
_MIN_MEAN = 1e-9


def build_model(
    architecture: Architecture,
    weights: Weights,
    normalisation: Normalisation,
    input_shape: tuple[int, int],
    *,
    half_precision_weights: bool = False,
    free_offset: npt.NDArray[np.float32] | None = None,
) -> onnx.ModelProto:
    """Build the graph from counts to patches, with a dynamic batch size.

    Parameters
    ----------
    architecture
        Layers of the network.
    weights
        Weights by name, see `Architecture.parameter_shapes`.
    normalisation
        Pre-processing of the counts, part of the graph.
    input_shape
        Rows and columns of the counts.
    half_precision_weights
        Store weights as float16, which halves the file. They are cast to float32 on loading, and all
        arithmetic is float32.
    free_offset
        (rows, columns) float32 of sum 1: weights of the mean that is subtracted from each patch's phase;
        None keeps the mean.

    Returns
    -------
    ModelProto
        Input "counts" (N, rows, columns) float32, and an output (N, rows, columns) float32 for each decoder.

    Raises
    ------
    ValueError
        If weights are missing or unknown, or have the wrong shape.
    """
    check_weights(architecture, weights)
    builder = _Builder(weights, half_precision=half_precision_weights)
    value = builder.normalise(INPUT_NAME, normalisation)
    features = builder.stage("encoder", architecture.encoder, builder.node("Unsqueeze", value, builder.integers([1])))
    for stage, output, layers in architecture.decoders:
        plane = builder.stage(stage, layers, features)
        if output == "phase" and free_offset is not None:
            weighted = builder.node("Mul", plane, builder.constant(free_offset))
            mean = builder.node("ReduceSum", weighted, builder.integers([2, 3]), keepdims=1)
            plane = builder.node("Sub", plane, mean)
        builder.node("Squeeze", plane, builder.integers([1]), name=output)
    return _assemble(builder, architecture, input_shape)


def check_weights(architecture: Architecture, weights: Weights) -> None:
    """Raise a ValueError unless names and shapes of the weights are exactly those of the architecture."""
    shapes = architecture.parameter_shapes()
    missing = sorted(shapes.keys() - weights.keys())
    unknown = sorted(weights.keys() - shapes.keys())
    if missing or unknown:
        raise ValueError(f"weights do not fit {architecture.name}: missing {missing[:4]}, unknown {unknown[:4]}")
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise ValueError(
                f"weights do not fit {architecture.name}: {name} has shape {weights[name].shape}, expected {shape}"
            )


def _assemble(builder: _Builder, architecture: Architecture, input_shape: tuple[int, int]) -> onnx.ModelProto:
    """Wrap the nodes in a checked model with typed inputs and outputs."""
    batch = ["batch", None, None]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, batch) for _, name, _ in architecture.decoders]
    inputs = [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["batch", *input_shape])]
    graph = helper.make_graph(builder.nodes, architecture.name, inputs, outputs, builder.constants)
    opset = helper.make_opsetid("", _OPSET)
    model = helper.make_model(graph, opset_imports=[opset], producer_name="charon", ir_version=_IR_VERSION)
    onnx.checker.check_model(model)  # pyright: ignore[reportUnknownMemberType] - a parameter without a type
    return onnx.shape_inference.infer_shapes(model)


class _Builder:
    """Collect nodes and constants; each method returns the name of the value that it adds."""

    def __init__(self, weights: Weights, *, half_precision: bool) -> None:
        self._weights = weights
        self._half_precision = half_precision
        self._skips: dict[str, str] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, name: str | None = None, **attributes: object) -> str:
        output = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))  # pyright: ignore[reportArgumentType] - values of any type
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

    def normalise(self, value: str, method: Normalisation) -> str:
        match method:
            case RawCounts():
                return value
            case SqrtStandardise():
                mean = self.node("ReduceMean", value, self.integers([1, 2]), keepdims=1)
                mean = self.node("Max", mean, self.constant(_MIN_MEAN))
                value = self.node("Div", value, mean)
                if method.resize is not None:
                    value = self.node("MatMul", self.constant(method.resize[0]), value)
                    value = self.node("MatMul", value, self.constant(method.resize[1].T))
                root = self.node("Sqrt", self.node("Relu", value))
                return self.node(
                    "Div", self.node("Sub", root, self.constant(method.mean)), self.constant(method.deviation)
                )
            case Standardise():
                if method.resize is not None:
                    value = self.node("MatMul", self.constant(method.resize), value)
                    value = self.node("MatMul", value, self.constant(method.resize.T))
                small = self.node("Less", value, self.constant(method.threshold))
                value = self.node("Where", small, self.constant(0.0), value)
                value = self.node("Sub", value, self.constant(method.mean))
                return self.node("Div", value, self.constant(method.deviation))

    def stage(self, stage: str, layers: Stage, value: str) -> str:
        for index, layer in enumerate(layers):
            following = layers[index + 1] if index + 1 < len(layers) else None
            norm = f"{stage}.{index + 1}" if isinstance(following, BatchNorm) else None
            value = self._layer(f"{stage}.{index}", layer, norm, value)
        return value

    def _layer(self, key: str, layer: Layer, norm: str | None, value: str) -> str:  # noqa: C901, PLR0911 - one branch per layer type
        match layer:
            case Conv():
                weight, bias = self._convolution(key, norm)
                edge = layer.kernel // 2
                return self.node("Conv", value, weight, bias, pads=[edge] * 4, kernel_shape=[layer.kernel] * 2)
            case BatchNorm():
                return value  # folded into the preceding convolution
            case Relu():
                return self.node("Relu", value)
            case MaxPool():
                return self.node("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2])
            case Upsample():
                scales = self.constant([1.0, 1.0, 2.0, 2.0])
                mode = "pytorch_half_pixel"
                return self.node("Resize", value, "", scales, mode="linear", coordinate_transformation_mode=mode)
            case SpaceToDepth():
                return self.node("SpaceToDepth", value, blocksize=layer.size)
            case DepthToSpace():
                return self.node("DepthToSpace", value, blocksize=layer.size, mode="CRD")
            case ScaledTanh():
                return self.node("Mul", self.node("Tanh", value), self.constant(layer.scale))
            case Sigmoid():
                return self.node("Sigmoid", value)
            case SaveSkip():
                self._skips[layer.label] = value
                return value
            case AddSkip():
                return self.node("Add", value, self._skips[layer.label])

    def _convolution(self, key: str, norm: str | None) -> tuple[str, str]:
        """Return weight and bias of a convolution, with the batch normalisation that follows it folded in."""
        weight = self._weights[f"{key}.weight"].astype(np.float64)
        bias = self._weights[f"{key}.bias"].astype(np.float64)
        if norm is not None:
            part = {name: self._weights[f"{norm}.{name}"].astype(np.float64) for name in BATCH_NORM_PARAMETERS}
            scale = part["weight"] / np.sqrt(part["running_var"] + _NORM_EPSILON)
            weight = weight * scale[:, None, None, None]
            bias = (bias - part["running_mean"]) * scale + part["bias"]
        if not self._half_precision:
            return self.constant(weight), self.constant(bias)
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(weight.astype(np.float16), name))
        return self.node("Cast", name, to=TensorProto.FLOAT), self.constant(bias)
