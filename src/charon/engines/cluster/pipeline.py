"""Apply a pipeline to a cluster, and drain and delete it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from charon.adapters.kubernetes import NotFoundOnClusterError
from charon.engines.cluster import names
from charon.engines.cluster.observe import ClusterView, observe
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from charon.adapters.kubernetes import Kubectl

_POLL_INTERVAL_S = 1.0
# Numaflow checks every 10 s whether a pausing pipeline is empty, and requires two such checks.
_PAUSE_DELAY_S = 60.0
_MIN_DELETE_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class StopResult:
    """Result of stopping a pipeline.

    Parameters
    ----------
    drained
        Whether its buffers were empty before it was deleted; None if it was deleted without draining.
    last
        Its state before it was deleted.
    """

    drained: bool | None
    last: ClusterView


class ClusterPipeline:
    """A pipeline on a cluster, identified by its name.

    Parameters
    ----------
    kubectl
        Client of the cluster.
    name, namespace
        Name and namespace of the pipeline.
    """

    def __init__(self, kubectl: Kubectl, name: str, namespace: str) -> None:
        self._kubectl = kubectl
        self.name = name
        self.namespace = namespace

    def apply(self, manifest: str, options: Sequence[str]) -> str:
        """Apply a manifest with options for ``kubectl apply``; return kubectl's output.

        A pipeline that was left paused is resumed.

        Raises
        ------
        UnavailableError
            If Numaflow is not installed, the cluster rejects the manifest, or the pipeline is still being deleted.
        """
        # Checked first: kubectl would apply the other objects of the manifest before it fails.
        before = self._observe_existing()
        if before is not None and before.deleting:
            raise UnavailableError(f"{self.name} is still being deleted; retry when it is gone")
        extra = _without(options, self._kubectl.options)
        output = self._kubectl.text("apply", "--filename=-", *extra, stdin=manifest)
        if before is not None and before.desired_phase == "Paused" and not _is_dry_run(options):
            self._patch({"spec": {"lifecycle": {"desiredPhase": "Running"}}})
        return output

    def _observe_existing(self) -> ClusterView | None:
        try:
            return observe(self._kubectl, self.name, self.namespace)
        except NotFoundOnClusterError:
            return None

    def observe(self) -> ClusterView:
        """Return the state of the pipeline.

        Raises
        ------
        UsageError
            If the pipeline does not exist.
        UnavailableError
            If the cluster does not respond.
        """
        try:
            return observe(self._kubectl, self.name, self.namespace)
        except NotFoundOnClusterError as error:
            raise self._missing() from error

    def _missing(self) -> UsageError:
        return UsageError(
            f"no pipeline {self.name!r} in namespace {self.namespace};"
            f" list them with: charonctl kubectl get pipelines -n {self.namespace}"
        )

    def stop(self, timeout_s: float, report: Callable[[str], None], *, drain: bool = True) -> StopResult:
        """Stop the sources, wait until every buffer is empty, and delete the pipeline.

        Parameters
        ----------
        timeout_s
            Limit for draining, in s.
        report
            Called with a line for each step.
        drain
            Whether to finish the accepted frames first; if False, the pipeline is deleted immediately.

        Raises
        ------
        UsageError
            If the pipeline does not exist.
        UnavailableError
            If it does not drain in time (it then stays paused), or cannot be deleted.
        """
        view = self.observe()
        drained = None
        # A pipeline that never had a pod has accepted nothing, and Numaflow does not pause one whose setup failed.
        if drain and view.ever_ran:
            view = self._drain(timeout_s, report)
            drained = True
        self._delete(timeout_s, report)
        return StopResult(drained, view)

    def _drain(self, timeout_s: float, report: Callable[[str], None]) -> ClusterView:
        """Pause the pipeline: Numaflow stops the sources first, and the other vertices when the buffers are empty."""
        # After the grace period Numaflow stops the vertices even if their buffers are not empty.
        lifecycle = {"desiredPhase": "Paused", "pauseGracePeriodSeconds": max(1, round(timeout_s))}
        self._patch({"spec": {"lifecycle": lifecycle}})
        report(f"{self.name}: stopping the sources and draining the buffers")
        deadline = time.monotonic() + timeout_s + _PAUSE_DELAY_S
        while True:
            view = self.observe()
            if view.phase == "Paused":
                break
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"{self.name} is still {view.phase or 'in an unknown phase'} after"
                    f" {timeout_s + _PAUSE_DELAY_S:.0f} s; is the Numaflow controller running?"
                    " Use --no-drain to delete it without draining"
                )
            time.sleep(_POLL_INTERVAL_S)
        if not view.drained:
            raise UnavailableError(
                f"{self.name} is paused, but its buffers are not empty; resume it with `charonctl run FILE` and stop it"
                " with a longer --timeout, or discard the remaining frames with --no-drain"
            )
        return view

    def _delete(self, timeout_s: float, report: Callable[[str], None]) -> None:
        report(f"{self.name}: deleting the pipeline")
        limit = max(_MIN_DELETE_TIMEOUT_S, round(timeout_s))
        self._kubectl.text(
            "delete",
            names.PIPELINES,
            self.name,
            f"--namespace={self.namespace}",
            "--ignore-not-found",
            "--wait=true",
            f"--timeout={limit}s",
            timeout_s=limit + 30.0,
        )

    def _patch(self, patch: dict[str, object]) -> None:
        try:
            self._kubectl.text(
                "patch",
                names.PIPELINES,
                self.name,
                f"--namespace={self.namespace}",
                "--type=merge",
                f"--patch={json.dumps(patch)}",
            )
        except NotFoundOnClusterError as error:
            raise self._missing() from error


def _is_dry_run(options: Sequence[str]) -> bool:
    return any(option.startswith("--dry-run") for option in options)


def _without(options: Sequence[str], connection: Sequence[str]) -> list[str]:
    """Return the options without the connection options, which are added to every call of kubectl."""
    remaining = list(options)
    for option in connection:
        if option in remaining:
            remaining.remove(option)
    # The connection options contain `-nNAME` as two words.
    return [o for o in remaining if not (o.startswith("-n") and not o.startswith("--") and o[2:] in connection)]
