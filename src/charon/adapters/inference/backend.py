"""What runs a network: one small interface, OpenVINO on the CPU by default, ONNX Runtime beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from charon.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

BACKENDS = ("openvino", "onnxruntime", "cuda")


class Backend(Protocol):
    """A loaded network."""

    @property
    def name(self) -> str:
        """Name and version of what runs it, for provenance."""
        ...

    def infer(self, counts: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Run the network.

        Parameters
        ----------
        counts
            (N, rows, columns) float32 mean-binned detector counts; any N from 1 up.

        Returns
        -------
        For each output's name an (N, rows, columns) float32 array that belongs to the caller.
        """
        ...


def open_backend(kind: str, model: Path, *, threads: int = 0) -> Backend:
    """Load a network.

    Parameters
    ----------
    kind
        One of `BACKENDS`.
    model
        An ONNX file with the input ``counts`` (N, rows, columns) float32.
    threads
        Threads to use on a CPU; 0 leaves it to the back end.

    Raises
    ------
    UsageError
        If the back end is unknown or not installed, or the file is no network that it can run.
    """
    if kind == "openvino":
        from charon.adapters.inference.openvino import OpenVinoBackend  # noqa: PLC0415 - load only what is used

        return OpenVinoBackend(model, threads=threads)
    if kind in {"onnxruntime", "cuda"}:
        from charon.adapters.inference.onnxruntime import OnnxRuntimeBackend  # noqa: PLC0415 - likewise

        return OnnxRuntimeBackend(model, threads=threads, gpu=kind == "cuda")
    raise UsageError(f"no back end is called {kind!r}; there are {', '.join(BACKENDS)}")
