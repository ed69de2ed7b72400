"""Compare two files of ``charonctl metrics``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from charon.cli.compare.planning import check_packages
from charon.cli.compare.tables import ratio_text
from charon.comparison.metrics_files import compare_metrics
from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def compare_metrics_files(sources: Sequence[Path], output: Path | None) -> int:
    """Print the means of the series of two files, and their ratios; return the exit status.

    Parameters
    ----------
    sources
        The two files.
    output
        File of the report; None writes none.

    Raises
    ------
    UsageError
        If there are not two files, or one of them is not such a file.
    """
    if len(sources) != 2 or any(source.is_dir() for source in sources):
        raise UsageError("--from: two files of charonctl metrics can be compared; use --from FILE --from FILE")
    if output is not None:
        check_packages(["bokeh"])
    found = compare_metrics(*sources)
    click.echo(f"A: {found.a}")
    click.echo(f"B: {found.b}")
    for row in found.rows:
        ratio = "" if row.ratio is None else f", A / B {ratio_text(row.ratio)}"
        click.echo(f"{row.query} {row.labels}".rstrip() + f": A {row.a_mean:.4g}, B {row.b_mean:.4g}{ratio}")
    for name, only in (("A", found.only_a), ("B", found.only_b)):
        for series in only:
            click.echo(f"only in {name}: {series}", err=True)
    if output is not None:
        from charon.comparison.report import write_metrics_report  # noqa: PLC0415 - imports Bokeh

        write_metrics_report(found, output)
        click.echo(f"report: {output}")
    if not found.rows:
        click.echo("the two files have no series in common", err=True)
    return 0 if found.rows else 1
