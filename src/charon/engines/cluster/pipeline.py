"""Applying a pipeline to a cluster, and ending it so that what was accepted is finished."""

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

_LOOK_S = 1.0
# Numaflow looks every 10 s, and looks twice.
_SLACK_S = 60.0


@dataclass(frozen=True, slots=True)
class StopResult:
    """How a pipeline ended.

    Parameters
    ----------
    drained
        Whether its buffers were empty before it was deleted; None where nobody was asked to drain it.
    last
        The state before it was deleted.
    """

    drained: bool | None
    last: ClusterView


class ClusterPipeline:
    """A pipeline on a cluster, by name.

    Parameters
    ----------
    kubectl
        For which cluster.
    name, namespace
        Of the pipeline.
    """

    def __init__(self, kubectl: Kubectl, name: str, namespace: str) -> None:
        self._kubectl = kubectl
        self.name = name
        self.namespace = namespace

    def apply(self, manifest: str, options: Sequence[str]) -> str:
        """Apply the manifest's text with kubectl's own options; return what kubectl says.

        A pipeline that was paused and is still there goes on.

        Raises
        ------
        UnavailableError
            If the cluster does not know pipelines, or does not take this one, or is deleting one of its name.
        """
        # Asked first: of a file with several objects kubectl would apply those that it can.
        before = self._if_there()
        if before is not None and before.deleting:
            raise UnavailableError(f"{self.name} is still being deleted; run it again when it is gone")
        rest = _without(options, self._kubectl.options)
        said = self._kubectl.text("apply", "--filename=-", *rest, stdin=manifest)
        if before is not None and before.desired_phase == "Paused" and not _is_dry(options):
            self._patch({"spec": {"lifecycle": {"desiredPhase": "Running"}}})
        return said

    def _if_there(self) -> ClusterView | None:
        try:
            return observe(self._kubectl, self.name, self.namespace)
        except NotFoundOnClusterError:
            return None

    def observe(self) -> ClusterView:
        """Return its state.

        Raises
        ------
        UsageError
            If there is no such pipeline.
        UnavailableError
            If the cluster does not answer.
        """
        try:
            return observe(self._kubectl, self.name, self.namespace)
        except NotFoundOnClusterError as error:
            raise UsageError(f"no pipeline {self.name!r} in namespace {self.namespace}") from error

    def stop(self, timeout_s: float, report: Callable[[str], None], *, drain: bool = True) -> StopResult:
        """Let the sources end, wait until every buffer is empty, and delete the pipeline.

        Parameters
        ----------
        timeout_s
            How long draining may take, in s.
        report
            Called with a line when something happens.
        drain
            Whether to wait for what was accepted; without, it is deleted at once.

        Raises
        ------
        UsageError
            If there is no such pipeline.
        UnavailableError
            If it does not drain in time (it is left paused then), or cannot be deleted.
        """
        view = self.observe()
        drained = None
        # What never had a pod has accepted nothing, and Numaflow pauses nothing that it could not set up.
        if drain and view.ever_ran:
            view = self._drain(timeout_s, report)
            drained = True
        self._delete(timeout_s, report)
        return StopResult(drained, view)

    def _drain(self, timeout_s: float, report: Callable[[str], None]) -> ClusterView:
        """Pause the pipeline: Numaflow ends the sources first, and the rest when the buffers are empty."""
        # The grace period is the longest that Numaflow waits before it ends what is not empty.
        lifecycle = {"desiredPhase": "Paused", "pauseGracePeriodSeconds": max(1, round(timeout_s))}
        self._patch({"spec": {"lifecycle": lifecycle}})
        report(f"{self.name}: its sources end, and what was accepted is finished")
        deadline = time.monotonic() + timeout_s + _SLACK_S
        while True:
            view = self.observe()
            if view.phase == "Paused":
                break
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"{self.name} is still {view.phase or 'unknown'} after {timeout_s + _SLACK_S:.0f} s;"
                    " is the Numaflow controller running? delete it as it is with --no-drain"
                )
            time.sleep(_LOOK_S)
        if not view.drained:
            raise UnavailableError(
                f"{self.name} is paused and was not empty: its buffers keep what is left; let it go on with"
                " `charonctl run FILE` and stop it with a longer --timeout, or throw that away with --no-drain"
            )
        return view

    def _delete(self, timeout_s: float, report: Callable[[str], None]) -> None:
        report(f"{self.name}: deleting it")
        limit = max(60, round(timeout_s))
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
            raise UsageError(f"no pipeline {self.name!r} in namespace {self.namespace}") from error


def _is_dry(options: Sequence[str]) -> bool:
    return any(option.startswith("--dry-run") for option in options)


def _without(options: Sequence[str], placing: Sequence[str]) -> list[str]:
    """Return kubectl's options without those that every question gets in any case."""
    left = list(options)
    for option in placing:
        if option in left:
            left.remove(option)
    # `-nNAME` is kept as two words.
    return [o for o in left if not (o.startswith("-n") and not o.startswith("--") and o[2:] in placing)]
