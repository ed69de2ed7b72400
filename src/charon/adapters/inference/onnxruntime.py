"""ONNX Runtime on the CPU, or on an NVIDIA GPU with TensorRT or CUDA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from charon.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

_GPU_PROVIDERS = ["TensorrtExecutionProvider", "CUDAExecutionProvider"]


class OnnxRuntimeBackend:
    """A network in an ONNX Runtime session.

    Raises
    ------
    UsageError
        If ONNX Runtime is not installed or cannot load the network, or if `gpu` is set and no GPU is found.
    """

    def __init__(self, model: Path, *, threads: int = 0, gpu: bool = False) -> None:
        try:
            import onnxruntime as library  # noqa: PLC0415 - optional dependency
        except ImportError as error:
            package = "onnxruntime-gpu" if gpu else "onnxruntime"
            raise UsageError(f"ONNX Runtime is not installed; run: pip install {package}") from error
        # ONNX Runtime has no type annotations.
        onnxruntime = cast("Any", library)
        self._version: str = onnxruntime.__version__
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Spinning threads would occupy the cores that the other vertices of the machine need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = ["CPUExecutionProvider"]
        if gpu:
            providers = [p for p in _GPU_PROVIDERS if p in onnxruntime.get_available_providers()] + providers
        try:
            self._session: Any = onnxruntime.InferenceSession(str(model), options, providers=providers)
        except Exception as error:  # ONNX Runtime's exceptions have only Exception as a common base
            raise UsageError(f"{model}: ONNX Runtime cannot load the network: {error}") from error
        self._provider: str = self._session.get_providers()[0]
        if gpu and self._provider == "CPUExecutionProvider":
            raise UsageError("ONNX Runtime found no GPU; install onnxruntime-gpu and CUDA, or use --backend openvino")
        self._outputs = [output.name for output in self._session.get_outputs()]

    @property
    def name(self) -> str:
        """Name, version and device, for provenance."""
        return f"ONNX Runtime {self._version} ({self._provider.removesuffix('ExecutionProvider')})"

    def infer(self, counts: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Run the network on (N, rows, columns) counts."""
        return dict(zip(self._outputs, self._session.run(self._outputs, {"counts": counts}), strict=True))
