"""Command and options of ``charonctl compare``.

Modules of the comparison are imported only when the command runs: help and completion do not need them.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from charon.cli.compare.lists import Names, Rates
from charon.cli.parameters import Numbers, Seconds, is_set
from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

# As in charon.comparison.model; importing pydantic takes 0.2 s, which help and completion do not need.
ENGINES = ("embedded", "baseline", "numaflow", "baseline-pods")
PARTS = ("setting", "load", "maximum", "overload", "recovery", "noise")

_PLAN_OPTIONS = (
    "quick",
    "full",
    "engines",
    "rates",
    "model",
    "replicas",
    "repetitions",
    "duration",
    "warm_up",
    "parts",
    "stitch",
    "seed",
)
_ARGUMENTS = "charon.cli.compare.arguments"


class _ExactCommand(click.Command):
    """Command that keeps its arguments as given, for the record of the comparison."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments, then parse them."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


@click.command(cls=_ExactCommand)
@click.option("--quick", is_flag=True, help="Short plan: about 3 minutes on two cores.")
@click.option("--full", is_flag=True, help="Full plan: about four hours on two cores.")
@click.option(
    "--engines",
    type=Names(ENGINES),
    help=f"Comma-separated engines: {', '.join(ENGINES)}. The first is the reference.  [default: embedded,baseline]",
)
@click.option("--rates", type=Rates(), help="Comma-separated frame rates in frames/s.  [default: from the plan]")
@click.option("--model", multiple=True, metavar="NAME", help="Model bundle: a name or a folder; repeatable.")
@click.option("--replicas", type=Numbers(), help="Numbers of inference workers, such as 1,2.")
@click.option("--repetitions", type=click.IntRange(1), help="Repetitions of each condition.")
@click.option(
    "--duration", type=Seconds(1), help="Seconds per cell after the warm-up, except in the parts overload and recovery."
)
@click.option("--warm-up", type=Seconds(), help="Seconds of warm-up per cell, which are not measured.")
@click.option(
    "--parts", type=Names(PARTS), help=f"Comma-separated parts: {', '.join(PARTS)}.  [default: from the plan]"
)
@click.option("--stitch", is_flag=True, help="Also stitch the image, with every engine.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of the frames.")
@click.option("--resume", is_flag=True, help="Continue the comparison in the folder of --output.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for the results; with --from, the file of the report.  [default: out/compare/TIME]",
)
@click.option(
    "--from",
    "sources",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help="Write the report of this results folder again, without measuring. Given twice: compare two folders, or two "
    "files of charonctl metrics.",
)
@click.option("--quiet", is_flag=True, help="Print nothing until the end.")
@click.pass_context
def compare(
    ctx: click.Context,
    quick: bool,
    full: bool,
    engines: list[str] | None,
    rates: list[float] | None,
    model: tuple[str, ...],
    replicas: frozenset[int] | None,
    repetitions: int | None,
    duration: float | None,
    warm_up: float | None,
    parts: list[str] | None,
    stitch: bool,
    seed: int,
    resume: bool,
    output: Path | None,
    sources: tuple[Path, ...],
    quiet: bool,
) -> int:
    """Measure the pipeline and the PvaPy baseline side by side on this machine, and write a report.

    A cell is one run of one engine with one detector; every frame is counted by its id. The cells of the engines
    alternate, and cells that other work on the machine has disturbed are repeated. Ctrl-C keeps the results so far;
    --resume continues the comparison. Do not use the machine for other work during a comparison.
    """
    given = [name for name in _PLAN_OPTIONS if is_set(ctx, name)]
    _require_text([*model, *map(str, (*sources, *([] if output is None else [output])))])
    if sources:
        from charon.cli.compare.redraw import redraw  # noqa: PLC0415

        _refuse_with_from([*given, *(["resume"] if resume else [])])
        return redraw(sources, output)
    if quick and full:
        raise UsageError("--quick and --full exclude each other; use one of them")
    from charon.cli.compare.measure import measure, resume_measurement  # noqa: PLC0415
    from charon.cli.compare.planning import PlanOptions  # noqa: PLC0415

    size = "quick" if quick else "full" if full else "default"
    options = PlanOptions(size, engines, rates, model, replicas, repetitions, duration, warm_up, parts, stitch, seed)
    if not resume:
        return measure(options, output, exact_command(ctx.meta[_ARGUMENTS]), quiet=quiet)
    if output is None:
        raise UsageError("--resume requires --output, the folder of the comparison to continue")
    return resume_measurement(options, given, output, quiet=quiet)


def exact_command(arguments: Sequence[str]) -> str:
    """Return the command line with the arguments as given."""
    return shlex.join(["charonctl", "compare", *arguments])


def _require_text(names: list[str]) -> None:
    """Raise UsageError if a name cannot be written to the results and the report, which are UTF-8."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
            raise UsageError(f"{shown}: the name is not valid UTF-8; rename it or choose another") from None


def _refuse_with_from(given: list[str]) -> None:
    """Raise UsageError if options of a measurement are given."""
    if given:
        raise UsageError(f"--from measures nothing; remove --{given[0].replace('_', '-')}")
