"""Inference back ends: OpenVINO on the CPU by default, ONNX Runtime as the alternative."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from charon.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

BACKENDS = ("openvino", "onnxruntime", "cuda")


class Backend(Protocol):
    """A network loaded by an inference library."""

    @property
    def name(self) -> str:
        """Name and version of the inference library, for provenance."""
        ...

    def infer(self, counts: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Run the network.

        Parameters
        ----------
        counts
            (N, rows, columns) float32, mean-binned detector counts; N is at least 1.

        Returns
        -------
        dict
            For each output's name a new (N, rows, columns) float32 array.
        """
        ...


def open_backend(kind: str, model: Path, *, threads: int = 0) -> Backend:
    """Load a network.

    Parameters
    ----------
    kind
        Name of a back end, one of `BACKENDS`.
    model
        An ONNX file with the input ``counts`` (N, rows, columns) float32.
    threads
        Number of CPU threads; 0 for the default of the back end.

    Raises
    ------
    UsageError
        If the back end is unknown or not installed, or cannot load the network.
    """
    if kind == "openvino":
        from charon.adapters.inference.openvino import OpenVinoBackend  # noqa: PLC0415 - the libraries are large, and only one is in use

        return OpenVinoBackend(model, threads=threads)
    if kind in {"onnxruntime", "cuda"}:
        from charon.adapters.inference.onnxruntime import OnnxRuntimeBackend  # noqa: PLC0415 - as above

        return OnnxRuntimeBackend(model, threads=threads, gpu=kind == "cuda")
    raise UsageError(f"unknown back end {kind!r}; choose from {', '.join(BACKENDS)}")
