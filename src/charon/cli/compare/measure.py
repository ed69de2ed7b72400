"""Measure a comparison, continue it after an interrupt, and write its report."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from charon.cli.compare.planning import check_machine, check_rates, make_plan, planned_fields
from charon.cli.compare.progress import Progress
from charon.cli.compare.redraw import write_and_print
from charon.cli.signals import exit_on_signals
from charon.comparison.conduct import Conductor
from charon.comparison.machine import commit, this_machine, versions
from charon.comparison.model import Comparison
from charon.comparison.remaining import Estimate
from charon.comparison.results import ResultsFolder
from charon.comparison.running import run_cell
from charon.comparison.schedule import Schedule
from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from charon.cli.compare.planning import PlanOptions
    from charon.comparison.model import ChosenSetting, Machine, Plan

_INTERRUPTED = 130


def measure(options: PlanOptions, output: Path | None, command: str, *, quiet: bool) -> int:
    """Measure a new comparison and return the exit status.

    Raises
    ------
    UsageError
        If the options are invalid, something that the plan needs is missing, or the folder is not empty.
    """
    plan = make_plan(options)
    check_rates(plan)
    shapes = check_machine(plan)
    path = output or Path("out/compare") / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    comparison = Comparison(
        plan=plan,
        machine=this_machine(),
        command=command,
        versions=versions(),
        commit=commit(),
        started_ns=time.time_ns(),
    )
    return _run(ResultsFolder.create(path, comparison), shapes, quiet=quiet)


def resume_measurement(options: PlanOptions, given: Sequence[str], output: Path, *, quiet: bool) -> int:
    """Measure the cells that are missing in a results folder and return the exit status.

    Parameters
    ----------
    options, given
        Options of the plan, and the names of those that are given: they must not change the folder's plan.
    output
        The results folder.
    quiet
        Whether to print nothing until the end.

    Raises
    ------
    UsageError
        If the folder is not a results folder, or was measured with another plan, machine or version.
    """
    folder = ResultsFolder.open(output)
    if given:
        check_same_plan(output, folder.comparison.plan, make_plan(options), planned_fields(given))
    check_same_system(output, folder.comparison, this_machine(), versions(), commit())
    shapes = check_machine(folder.comparison.plan)
    for problem in folder.problems:
        click.echo(f"warning: {problem}; it is measured again", err=True)
    return _run(folder, shapes, quiet=quiet)


def check_same_plan(path: Path, recorded: Plan, given: Plan, fields: Sequence[str]) -> None:
    """Raise UsageError if one of the fields of the given plan differs from the recorded plan."""
    for name in fields:
        before, now = getattr(recorded, name), getattr(given, name)
        if before != now:
            raise UsageError(
                f"{path}: its plan has {name} = {_show(before)}, not {_show(now)}; "
                "omit the plan's options with --resume, or choose another folder"
            )


def check_same_system(
    path: Path, recorded: Comparison, machine: Machine, versions: Mapping[str, str], commit: str | None
) -> None:
    """Raise UsageError if a comparison was measured on another machine, or with other versions or another commit."""
    pairs: list[tuple[str, object, object]] = [
        (name, getattr(recorded.machine, name), getattr(machine, name)) for name in ("hostname", "cpu", "cores")
    ]
    pairs += [(name, recorded.versions.get(name), version) for name, version in versions.items()]
    pairs.append(("commit", recorded.commit, commit))
    for name, before, now in pairs:
        if before != now:
            raise UsageError(
                f"{path}: measured with {name} {_show(before)}, not {_show(now)} as here; "
                "start a new comparison, and compare the two folders with --from"
            )


def _run(folder: ResultsFolder, shapes: Mapping[str, tuple[int, int]], *, quiet: bool) -> int:
    with folder.locked(), exit_on_signals():
        # Another process may have measured cells until the folder was locked.
        folder = ResultsFolder.open(folder.path)
        folder.set_damaged_aside()
        try:
            _conduct(folder, shapes, quiet=quiet)
            folder.update(folder.comparison.model_copy(update={"ended_ns": time.time_ns()}))
            return write_and_print(folder)
        except KeyboardInterrupt:
            recorded = len(folder.results())
            click.echo(f"interrupted; {recorded} results are kept in {folder.path}", err=True)
            path = shlex.quote(str(folder.path))
            click.echo(f"report of these results: charonctl compare --from {path}", err=True)
            click.echo(f"continue with: charonctl compare --output {path} --resume", err=True)
            return _INTERRUPTED


def _conduct(folder: ResultsFolder, shapes: Mapping[str, tuple[int, int]], *, quiet: bool) -> None:
    comparison = folder.comparison
    cores = comparison.machine.cores
    with Progress(Estimate(comparison.plan, cores), quiet=quiet) as progress:

        def record(chosen: ChosenSetting) -> None:
            progress.note(f"setting of {chosen.engine} with {chosen.model}: {chosen.reason}")
            now = folder.comparison
            folder.update(now.model_copy(update={"settings": [*now.settings, chosen]}))

        schedule = Schedule(
            comparison.plan,
            shapes,
            cores,
            settings=comparison.settings,
            on_setting=record,
            on_note=progress.note,
        )
        Conductor(folder, run_cell, progress).run(schedule.cells())


def _show(value: object) -> str:
    if isinstance(value, list):
        return ",".join(_show(item) for item in cast("list[object]", value))
    return f"{value:g}" if isinstance(value, float) else str(value)
