"""OpenVINO on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import openvino

from charon.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# A network with a fixed batch size runs faster than one with a dynamic size. A batch of 7 runs as 4 + 2 + 1.
_BATCH_SIZES = (16, 8, 4, 2, 1)


class OpenVinoBackend:
    """A network compiled for the CPU, once per batch size.

    Raises
    ------
    UsageError
        If OpenVINO cannot load the network.
    """

    def __init__(self, model: Path, *, threads: int = 0) -> None:
        self._core = openvino.Core()
        try:
            self._model: openvino.Model = cast("Any", self._core).read_model(str(model))
        except RuntimeError as error:
            raise UsageError(f"{model}: OpenVINO cannot load the network: {str(error).splitlines()[0]}") from error
        self._config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            self._config["INFERENCE_NUM_THREADS"] = threads
        self._outputs = [output.get_any_name() for output in self._model.outputs]
        self._requests: dict[int, Any] = {}
        self._input_shape = tuple(self._model.inputs[0].partial_shape.get_dimension(k) for k in (1, 2))

    @property
    def name(self) -> str:
        """Name and version, for provenance."""
        return f"OpenVINO {openvino.get_version().split('-')[0]}"

    def infer(self, counts: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Run the network on (N, rows, columns) counts."""
        parts: list[tuple[NDArray[np.float32], ...]] = []
        start = 0
        while start < len(counts):
            size = next(s for s in _BATCH_SIZES if s <= len(counts) - start)
            request = self._request(size)
            request.infer([counts[start : start + size]], share_inputs=True)
            parts.append(tuple(np.array(request.get_output_tensor(k).data) for k in range(len(self._outputs))))
            start += size
        if len(parts) == 1:
            return dict(zip(self._outputs, parts[0], strict=True))
        return {name: np.concatenate([part[k] for part in parts]) for k, name in enumerate(self._outputs)}

    def _request(self, size: int) -> Any:  # noqa: ANN401 - InferRequest has no type annotations
        if size not in self._requests:
            model = self._model.clone()
            rows, columns = (dimension.get_length() for dimension in self._input_shape)
            model.reshape([size, rows, columns])
            self._requests[size] = self._core.compile_model(model, "CPU", self._config).create_infer_request()
        return self._requests[size]
