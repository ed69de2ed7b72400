"""One cell of the baseline in pods, from the creation of its objects to their deletion."""

from __future__ import annotations

import json
import logging
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from charon.adapters.kubernetes import Kubectl
from charon.comparison.running.detector import DetectorReport, parse_report
from charon.comparison.running.measurement import Kill, Measurement, Run
from charon.comparison.running.pods.objects import CellObjects, baseline_objects
from charon.comparison.running.pods.pod_set import PodSet
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from charon.comparison.model import Cell, Condition

POD_ENGINES = ("baseline-pods",)
"""Engines that are measured in pods."""

_log = logging.getLogger(__name__)
_CLIENT_DELAY_S = 2.0
_READY_TIMEOUT_S = 180.0
_END_TIMEOUT_S = 30.0
_DELETE_TIMEOUT_S = 90.0
_POLL_INTERVAL_S = 0.5


def measure_pods(cell: Cell, folder: Path) -> Measurement:
    """Run a cell in the current namespace and return what was recorded; its objects have been deleted on return.

    Raises
    ------
    UsageError
        If there is no cluster, or the namespace already contains one of the objects.
    UnavailableError
        If a pod does not start, or the cluster does not respond.
    DetectorTooSlowError
        If the detector has not published all frames after the planned time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kubectl = Kubectl()
    namespace = kubectl.namespace()
    objects = baseline_objects(cell.condition, cell.seed, client_delay_s=_CLIENT_DELAY_S)
    existing = kubectl.text("get", *objects.names, "--ignore-not-found", "--output", "name").split()
    if existing:
        found = f"{existing[0]} exists in namespace {namespace}"
        raise UsageError(f"{found}; delete the baseline and the detector, or use another namespace")
    with _pods(kubectl, namespace, folder, objects) as pods:
        driver = PodsDriver(kubectl, pods, objects, cell.condition)
        return PodsRun(cell.condition, driver, PodDetector(kubectl, pods, cell.condition.frames)).run()


@contextmanager
def _pods(kubectl: Kubectl, namespace: str, folder: Path, objects: CellObjects) -> Generator[PodSet]:
    """Yield the pods of a cell, and delete its objects at the end."""
    pods = PodSet(kubectl, namespace, folder)
    try:
        yield pods
    finally:
        try:
            pods.close()
            pods.save_logs()
        except (UnavailableError, OSError) as error:
            _log.warning("the logs of the pods are incomplete: %s", error)
        # With foreground deletion, kubectl waits for the pods of a Deployment, too.
        options = ("--ignore-not-found", "--grace-period=2", "--cascade=foreground", "--wait")
        timeout = f"--timeout={_DELETE_TIMEOUT_S:.0f}s"
        kubectl.text("delete", *objects.names, *options, timeout, timeout_s=_DELETE_TIMEOUT_S + 5)


class PodsDriver:
    """The baseline in pods.

    Parameters
    ----------
    kubectl
        Client of the cluster.
    pods
        The pods of the cell.
    objects
        The objects of the cell.
    condition
        Load and setting.
    """

    worker = "consumer.1"
    client_delay_s = _CLIENT_DELAY_S

    def __init__(self, kubectl: Kubectl, pods: PodSet, objects: CellObjects, condition: Condition) -> None:
        self._kubectl = kubectl
        self.pods = pods
        self._objects = objects
        self._replicas = condition.replicas

    def start(self) -> None:
        """Start the consumers and the mirror server and, when they are ready, the detector.

        The detector publishes its first frame when the mirror server subscribes. If the consumers or the Service of the
        mirror server were not ready, the first frames would be missed.
        """
        _apply(self._kubectl, [*self._objects.consumers, *self._objects.mirror])
        _wait(lambda: self.pods.ready("consumer") == self._replicas, self.pods, "the consumers are not ready")
        _wait(lambda: self.pods.ready("mirror") == 1, self.pods, "the mirror server is not ready")
        _apply(self._kubectl, self._objects.detector)

    def failure(self) -> str | None:
        """Return why a pod cannot run, or None while all can."""
        return self.pods.failure()

    def processes(self) -> Mapping[str, int]:
        """Return no process ids: processes in pods have none on this machine."""
        return {}

    def records(self) -> NDArray[np.void]:
        """Return all records of all consumers so far."""
        return self.pods.records()

    def drain(self, timeout_s: float) -> list[str]:  # noqa: ARG002 - the pods are idle, and deleted later
        """Return the observations that a reader of the report needs."""
        self.pods.refresh(immediately=True)
        return [*self.pods.notes(), "CPU time and memory are those of the first process of each container"]

    def kill(self) -> None:
        """Do nothing: the objects are deleted at the end of the measurement."""


class PodDetector:
    """The detector's pod.

    Parameters
    ----------
    kubectl
        Client of the cluster.
    pods
        The pods of the cell.
    frames
        Number of frames that it publishes.
    """

    def __init__(self, kubectl: Kubectl, pods: PodSet, frames: int) -> None:
        self.kubectl = kubectl
        self._pods = pods
        self.frames = frames

    def start(self) -> bool:
        """Return True without a start: the driver starts it last, and pods have the priority of their manifests."""
        return True

    def failure(self) -> str | None:
        """Return None: the driver reports the failure of every pod."""
        return None

    def published(self) -> NDArray[np.void]:
        """Return the records of the frames that it has published so far, (n,) of `RECORD`."""
        return self._pods.published()

    def end(self) -> DetectorReport:
        """End the detector and return its report, which the kubelet copies to the state of the container.

        Raises
        ------
        UnavailableError
            If it does not end or has written no valid report.
        """
        pod = self._pods.pod("detector")
        if pod is None:
            raise UnavailableError("the detector's pod no longer exists")
        self.kubectl.text("exec", pod, "--", "sh", "-c", "kill -TERM 1")
        deadline_s = time.monotonic() + _END_TIMEOUT_S
        while not (ended := _terminated(self._pods.state("detector"))):
            if time.monotonic() > deadline_s:
                raise UnavailableError(f"the detector did not end within {_END_TIMEOUT_S:.0f} s")
            time.sleep(_POLL_INTERVAL_S)
            self._pods.refresh()
        return parse_report(str(ended.get("message", "")))

    def kill(self) -> None:
        """Do nothing: the objects are deleted at the end of the measurement."""


class PodsRun(Run):
    """One run of the baseline in pods with a detector."""

    def __init__(self, condition: Condition, driver: PodsDriver, detector: PodDetector) -> None:
        # The streams of the resources have run since the pods started.
        super().__init__(condition, driver, detector, lambda: nullcontext(driver.pods.resources))
        self._pods = driver.pods
        self._kubectl = detector.kubectl

    def _kill_worker(self) -> Kill:
        name = self._driver.worker
        pod = self._pods.pod(name)
        if pod is None:
            raise UnavailableError(f"cannot kill {name}: it has no running pod")
        killed_ns = time.time_ns()
        self._kubectl.text("delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")
        return Kill(name, killed_ns)


def _apply(kubectl: Kubectl, objects: list[dict[str, Any]]) -> None:
    document = {"apiVersion": "v1", "kind": "List", "items": objects}
    kubectl.text("apply", "--filename=-", stdin=json.dumps(document))


def _wait(condition: Callable[[], bool], pods: PodSet, otherwise: str) -> None:
    deadline_s = time.monotonic() + _READY_TIMEOUT_S
    while not condition():
        failure = pods.failure()
        if failure is not None:
            raise UnavailableError(failure)
        if time.monotonic() > deadline_s:
            raise UnavailableError(f"{otherwise} after {_READY_TIMEOUT_S:.0f} s")
        time.sleep(_POLL_INTERVAL_S)


def _terminated(status: Mapping[str, Any]) -> Mapping[str, Any]:
    states = status.get("containerStatuses", [])
    return states[0].get("state", {}).get("terminated") or {} if states else {}
