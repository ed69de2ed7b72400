"""Write the report of measured results, or of two of them side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from charon.cli.compare.planning import check_packages
from charon.cli.compare.tables import figures_table, side_by_side_table
from charon.comparison.evaluation import evaluate, side_by_side
from charon.comparison.results import ResultsFolder
from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SIDE_BY_SIDE_FILE = "side-by-side.html"
"""Report of two results folders, in the first one."""


def redraw(sources: Sequence[Path], output: Path | None) -> int:
    """Write the report of one or two sources and print its main figures; return the exit status.

    Raises
    ------
    UsageError
        If there are more than two sources, or they are not results.
    """
    if len(sources) > 2:
        raise UsageError(f"--from is given {len(sources)} times; use it once or twice")
    if any(source.is_file() for source in sources):
        from charon.cli.compare.metrics_files import compare_metrics_files  # noqa: PLC0415

        return compare_metrics_files(sources, output)
    folders = [ResultsFolder.open(source) for source in sources]
    check_packages(["bokeh"])
    if len(folders) == 1:
        return write_and_print(folders[0], output)
    return _write_side_by_side(folders[0], folders[1], output)


def write_and_print(folder: ResultsFolder, output: Path | None = None) -> int:
    """Write the report of a results folder and print its main figures; return the exit status."""
    report = output or folder.report
    results = folder.results()
    _write_report(folder, report)
    click.echo(figures_table(evaluate(folder.comparison, results)), nl=False)
    _report_problems(folder)
    unusable = [result for result in results if not result.is_usable]
    if unusable:
        click.echo(f"{len(unusable)} of {len(results)} results are invalid or failed; the report lists them")
    click.echo(f"report: {report}")
    return 0 if any(result.is_usable for result in results) else 1


def _write_side_by_side(a: ResultsFolder, b: ResultsFolder, output: Path | None) -> int:
    report = output or a.path / SIDE_BY_SIDE_FILE
    _write_report(a, report, other=b)
    for name, folder in (("A", a), ("B", b)):
        click.echo(f"{name}: {_origin(folder)}")
    found = side_by_side((a.comparison, a.results()), (b.comparison, b.results()))
    click.echo(side_by_side_table(found), nl=False)
    _report_problems(a, b)
    click.echo(f"report: {report}")
    return 0 if found.rows else 1


def _write_report(folder: ResultsFolder, report: Path, other: ResultsFolder | None = None) -> None:
    # Without Bokeh, the checks before must be able to name it.
    from charon.comparison.report import write_report  # noqa: PLC0415 - imports Bokeh

    write_report(folder, report, other=other)


def _origin(folder: ResultsFolder) -> str:
    """Return folder, machine, version and commit of a comparison in one line."""
    comparison = folder.comparison
    machine = comparison.machine
    commit = f", commit {comparison.commit}" if comparison.commit else ""
    return (
        f"{folder.path}: {machine.hostname}, {machine.cpu}, {machine.cores} cores, "
        f"charon {comparison.versions.get('charon', 'unknown')}{commit}"
    )


def _report_problems(*folders: ResultsFolder) -> None:
    for folder in folders:
        for problem in folder.problems:
            click.echo(f"warning: {problem}", err=True)
