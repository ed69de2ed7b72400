"""Objects of a cell in pods: the shipped manifests of the baseline, with the load and setting of the cell."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from charon.comparison.running.detector import detector_arguments
from charon.errors import UsageError
from charon.resources import shipped

if TYPE_CHECKING:
    from charon.comparison.model import Condition

FRAME_LOG = "/tmp/frames.bin"  # noqa: S108 - in a container, on a volume of its pod
"""Frame log in each consumer and in the detector."""

NAME_LABEL = "app.kubernetes.io/name"
_PREFIX = "--processor-args="
_RECEIVER_QUEUE = "--receiver-queue-size="
# The kubelet copies it to the status of the ended container.
_REPORT = Path("/dev/termination-log")


@dataclass(frozen=True, slots=True)
class CellObjects:
    """Objects in the form of the Kubernetes API.

    Parameters
    ----------
    detector
        The detector's pod.
    consumers
        The consumers' Deployment, and all Services.
    mirror
        The mirror server's Deployment.
    """

    detector: list[dict[str, Any]]
    consumers: list[dict[str, Any]]
    mirror: list[dict[str, Any]]

    @property
    def names(self) -> list[str]:
        """All objects as KIND/NAME."""
        return [f"{o['kind']}/{o['metadata']['name']}" for o in (*self.detector, *self.consumers, *self.mirror)]


def baseline_objects(condition: Condition, seed: int, *, client_delay_s: float) -> CellObjects:
    """Return the objects of a cell of the baseline.

    Raises
    ------
    UsageError
        If the manifests cannot run the condition.
    """
    if condition.stitch:
        raise UsageError("engine baseline-pods has no stitching consumer; compare without --stitch")
    consumer, mirror = _documents("ptychonn"), _documents("mirror-server")
    (detector,) = _documents("sim-server")
    deployment = consumer.pop()
    deployment["spec"]["replicas"] = condition.replicas
    _set_consumer(_container(deployment["spec"]["template"]), condition)
    _container(detector)["args"] = detector_arguments(
        condition, seed, client_delay_s=client_delay_s, report=_REPORT, frame_log=Path(FRAME_LOG)
    )
    return CellObjects([detector], [*consumer, *mirror[:-1], deployment], mirror[-1:])


def _set_consumer(container: dict[str, Any], condition: Condition) -> None:
    setting = condition.setting
    changes = {
        "model": condition.model,
        "threads": setting.threads,
        "max_batch": setting.batch,
        "queue_size": setting.queue_size,
        "shared": condition.replicas > 1,
        "log": FRAME_LOG,
    }

    def changed(argument: str) -> str:
        if argument.startswith(_PREFIX):
            return _PREFIX + json.dumps(json.loads(argument.removeprefix(_PREFIX)) | changes)
        return f"{_RECEIVER_QUEUE}{setting.queue_size}" if argument.startswith(_RECEIVER_QUEUE) else argument

    container["args"] = [changed(argument) for argument in container["args"]]


def _container(pod: dict[str, Any]) -> dict[str, Any]:
    return pod["spec"]["containers"][0]


def _documents(name: str) -> list[dict[str, Any]]:
    path = shipped(f"workflows/aps/baseline-pvapy-{name}.yaml")
    if path is None:
        raise UsageError(f"workflows/aps/baseline-pvapy-{name}.yaml: missing; install Charon again")
    return [document for document in yaml.safe_load_all(path.read_text()) if document]
