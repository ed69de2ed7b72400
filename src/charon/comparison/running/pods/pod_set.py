"""The pods of a cell: their states, and the streams of their frame logs and resources."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from charon.comparison.engines.frame_files import FrameFiles
from charon.comparison.engines.restarts import restart_note
from charon.comparison.running.pods.objects import FRAME_LOG, NAME_LABEL
from charon.comparison.running.pods.resources import SAMPLE_COMMAND, NodesSeries, PodResources, joined, read_samples
from charon.comparison.running.pods.streams import PodStream
from charon.engines.cluster import is_ready, stuck_reason
from charon.ledger.frame_log import RECORD

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from charon.adapters.kubernetes import Kubectl

_REFRESH_INTERVAL_S = 2.0
_LOGS_TIMEOUT_S = 10.0
_NAMES = {"detector": "detector", "baseline-pvapy-ptychonn": "consumer", "baseline-pvapy-mirror-server": "mirror"}
_SELECTOR = f"{NAME_LABEL} in ({','.join(_NAMES)})"


class PodSet:
    """Pods of the baseline and the detector in a namespace, by the name of their process: ``consumer.1``, ``mirror``.

    Parameters
    ----------
    kubectl
        Client of the cluster.
    namespace
        The namespace.
    folder
        Folder for the copied files.
    """

    def __init__(self, kubectl: Kubectl, namespace: str, folder: Path) -> None:
        self._kubectl = kubectl
        self._namespace = namespace
        self._folder = folder
        self._due_s = 0.0
        self._pods: list[dict[str, Any]] = []
        self._names: dict[str, str] = {}
        self._nodes: dict[str, str] = {}
        self._streams: dict[str, list[PodStream]] = {}
        self._published = FrameFiles(folder, "frames-detector.bin")
        self._records = FrameFiles(folder, "frames-consumer.*.bin")

    def published(self) -> NDArray[np.void]:
        """Return the detector's records so far, (n,) of `RECORD`."""
        self.refresh()
        return self._published.records()

    def records(self) -> NDArray[np.void]:
        """Return the records of all consumers so far, (n,) of `RECORD`."""
        self.refresh()
        return self._records.records()

    def refresh(self, *, immediately: bool = False) -> None:
        """Read the states of the pods, and start the streams of new ones."""
        if time.monotonic() < self._due_s and not immediately:
            return
        pods = self._kubectl.items("get", "pods", "--selector", _SELECTOR)
        self._pods = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
        for pod in self._pods:
            if pod.get("status", {}).get("phase") == "Running":
                for stream in self._streams_of(pod):
                    stream.ensure()
        self._due_s = time.monotonic() + _REFRESH_INTERVAL_S

    def ready(self, process: str) -> int:
        """Return the number of ready pods of a program."""
        return sum(is_ready(pod) for pod in self._pods if _program(pod) == process)

    def pod(self, process: str) -> str | None:
        """Return the name of the running pod of a process, such as ``consumer.1``."""
        present = {pod["metadata"]["name"] for pod in self._pods}
        return next((pod for pod, name in self._names.items() if name == process and pod in present), None)

    def state(self, process: str) -> Mapping[str, Any]:
        """Return the status of a program's first pod; empty if it has none."""
        found: list[Mapping[str, Any]] = [pod["status"] for pod in self._pods if _program(pod) == process]
        return found[0] if found else {}

    def failure(self) -> str | None:
        """Return why a pod does not start or cannot be read, in one line, or None."""
        self.refresh()
        stuck = stuck_reason(self._kubectl, self._namespace, self._pods)
        failures = (stream.failure() for streams in self._streams.values() for stream in streams)
        return stuck or next((failure for failure in failures if failure is not None), None)

    def notes(self) -> list[str]:
        """Return the restarts of containers, and the names of the nodes if there are several."""
        restarted = {
            self._names[pod["metadata"]["name"]]: status["restartCount"]
            for pod in self._pods
            for status in pod.get("status", {}).get("containerStatuses", [])
            if status["restartCount"] and pod["metadata"]["name"] in self._names
        }
        lines = [restart_note(name, count) for name, count in sorted(restarted.items())]
        nodes = sorted(set(self._nodes.values()))
        if len(nodes) > 1:
            lines.append(f"the latency depends on the clocks of the nodes {', '.join(nodes)}")
        return lines

    def resources(self) -> PodResources:
        """Return the resources that the streams have recorded."""
        samples = {pod: read_samples(self._folder / f"resources-{pod}.txt") for pod in self._names}
        by_name: dict[str, list[Any]] = {}
        for pod, name in self._names.items():
            by_name.setdefault(name, []).extend(samples[pod].process)
        detector = joined(by_name.pop("detector", []))
        nodes = {self._nodes[pod]: samples[pod].node for pod in self._names}
        return PodResources(by_name, detector, NodesSeries(list(nodes.values())), self._cores(nodes))

    def close(self) -> None:
        """End all streams."""
        for streams in self._streams.values():
            for stream in streams:
                stream.close()

    def save_logs(self) -> None:
        """Write the log of each pod to the folder, for cells that could not run."""
        for pod in self._pods:
            name = pod["metadata"]["name"]
            with (self._folder / f"{name}.log").open("wb") as file:
                self._kubectl.stream("logs", name, output=file, errors=file).wait(_LOGS_TIMEOUT_S)

    def _streams_of(self, pod: Mapping[str, Any]) -> list[PodStream]:
        pod_name = pod["metadata"]["name"]
        if pod_name not in self._streams:
            name = self._name(_program(pod))
            self._names[pod_name] = name
            self._nodes[pod_name] = pod["spec"]["nodeName"]
            resources = self._folder / f"resources-{pod_name}.txt"
            streams = [PodStream(self._kubectl, pod_name, lambda _: SAMPLE_COMMAND, resources)]
            if name != "mirror":
                suffix = name if name == "detector" else f"{name}-{pod_name}"
                path = self._folder / f"frames-{suffix}.bin"
                size = RECORD.itemsize
                streams.append(PodStream(self._kubectl, pod_name, _tail, path, record_bytes=size))
            self._streams[pod_name] = streams
        return self._streams[pod_name]

    def _name(self, program: str) -> str:
        """Return the name of a new pod's process: a replacement has the number of the pod that it replaces."""
        if program != "consumer":
            return program
        present = {pod["metadata"]["name"] for pod in self._pods}
        used = {name for pod, name in self._names.items() if pod in present}
        return next(f"consumer.{k}" for k in range(1, len(used) + 2) if f"consumer.{k}" not in used)

    def _cores(self, nodes: Mapping[str, object]) -> int:
        capacity = {
            node["metadata"]["name"]: int(node["status"]["capacity"]["cpu"])
            for node in self._kubectl.items("get", "nodes")
        }
        return sum(capacity[node] for node in nodes)


def _program(pod: Mapping[str, Any]) -> str:
    return _NAMES[pod["metadata"]["labels"][NAME_LABEL]]


def _tail(size: int) -> list[str]:
    return ["tail", "-c", f"+{size + 1}", "-f", FRAME_LOG]
