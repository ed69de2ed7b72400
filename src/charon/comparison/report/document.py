"""The report: composes sections from results and writes them as one HTML file."""

from __future__ import annotations

import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

from charon.adapters.bokeh.markup import Html, element, join, table
from charon.adapters.bokeh.page import render_page
from charon.comparison.evaluation import evaluate, side_by_side
from charon.comparison.report import cells, guide, load, provenance, ratios, resources, timelines
from charon.comparison.report.names import ENGINES
from charon.comparison.report.section import Section
from charon.comparison.report.verdict import verdict
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from charon.comparison.evaluation import Evaluation, SideBySide
    from charon.comparison.results import ResultsFolder


def write_report(folder: ResultsFolder, path: Path, *, other: ResultsFolder | None = None) -> None:
    """Write the report of a comparison; with another, the ratios of both.

    Parameters
    ----------
    folder
        Results of the comparison.
    path
        The file, which is replaced.
    other
        Results of another comparison; ratios are `folder` / `other`.

    Raises
    ------
    UnavailableError
        If the file cannot be written.
    """
    write_page(render(folder, other), path)


def write_page(page: str, path: Path) -> None:
    """Write a page, or leave the previous file as it is.

    Raises
    ------
    UnavailableError
        If the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        message = f"{path}: cannot write the report: {error.strerror}; choose another file with --from and --output"
        raise UnavailableError(message) from error


def render(folder: ResultsFolder, other: ResultsFolder | None = None) -> str:
    """Return the report as HTML."""
    evaluation = evaluate(folder.comparison, folder.results())
    names = [ENGINES[engine].title for engine in evaluation.engines]
    title = " and ".join(names) if len(names) < 3 else ", ".join(names)
    sections = [
        *_figures(evaluation, folder),
        *_tables(evaluation, folder),
    ]
    both = [] if other is None else _sides(folder, other)
    figures = {name: figure for section in (*both, *sections) for name, figure in section.figures.items()}
    body = join(
        [
            element(
                "header",
                element("h1", f"{title} compared"),
                element("p", provenance.summary(folder.comparison), class_="soft"),
            ),
            *(section.render() for section in both),
            *([element("h2", "Comparison A")] if both else []),
            _verdict(evaluation, folder),
            _guide(evaluation, folder),
            _contents(sections),
            *(section.render() for section in sections),
        ]
    )
    return render_page(f"{title} compared", element("main", body), figures)


def _verdict(evaluation: Evaluation, folder: ResultsFolder) -> Html:
    lines = [element("p", element("strong", f"{topic}. "), sentences) for topic, sentences in verdict(evaluation)]
    warnings: list[Html] = []
    if folder.comparison.ended_ns is None:
        warnings.append(
            element("p", "The comparison is not complete: it was interrupted or is still running.", class_="warning")
        )
    return element(
        "section", *warnings, *lines, element("p", _trust(evaluation, folder), class_="soft"), class_="verdict"
    )


def _trust(evaluation: Evaluation, folder: ResultsFolder) -> str:
    results = folder.results()
    sentences = [f"{len(results) - len(evaluation.excluded)} of {len(results)} results are valid and in the figures."]
    if evaluation.noise:
        sentences.insert(0, ratios.noise_summary(evaluation))
    return " ".join(sentences)


def _contents(sections: Sequence[Section]) -> Html:
    links = [element("li", element("a", section.title, href=f"#{section.name}")) for section in sections]
    return element("nav", element("ul", *links))


def _guide(evaluation: Evaluation, folder: ResultsFolder) -> Html:
    return element(
        "section",
        element("h2", "Key differences"),
        element("div", guide.differences(evaluation, folder.results()), class_="fixed"),
        element("h2", "Performance indicators"),
        guide.indicators(evaluation, folder.comparison.machine),
        id="guide",
    )


def _figures(evaluation: Evaluation, folder: ResultsFolder) -> list[Section]:
    sections = [
        load.throughput(evaluation),
        resources.scaling(evaluation),
        load.distributions(evaluation, folder),
        load.quantiles(evaluation),
        ratios.engines(evaluation),
        load.losses(evaluation),
        timelines.overload(evaluation, folder),
        timelines.recovery(evaluation, folder),
        resources.processor(evaluation),
        resources.memory(evaluation),
        ratios.noise(evaluation),
    ]
    return [section for section in sections if section.panels]


def _tables(evaluation: Evaluation, folder: ResultsFolder) -> list[Section]:
    results = folder.results()
    command = shlex.quote(str(folder.path))
    return [
        Section("excluded", "Invalid and failed cells", content=cells.excluded(evaluation, folder.problems)),
        Section("cells", "All cells", content=cells.cells(results)),
        Section("machine", "Machine and versions", content=provenance.provenance(folder.comparison)),
        Section("repeat", "Command", content=provenance.repetition(folder.comparison, command)),
        Section("definitions", "Definitions", content=provenance.definitions()),
    ]


def _sides(folder: ResultsFolder, other: ResultsFolder) -> list[Section]:
    found = side_by_side((folder.comparison, folder.results()), (other.comparison, other.results()))
    both = (("A", folder), ("B", other))
    rows = [[name, str(side.path), provenance.summary(side.comparison)] for name, side in both]
    return [
        Section(
            "both",
            "Two comparisons",
            f"{_unmatched(found)} The sections below the ratios show A.",
            content=join([table(["", "Folder", "Measured"], rows), ratios.sides_table(found)]),
        ),
        ratios.sides(found),
    ]


def _unmatched(found: SideBySide) -> str:
    if not found.rows:
        return "The comparisons have no condition with valid results in common."
    settings = "" if all(row.same_setting for row in found.rows) else " The settings of the engines differ."
    return f"Conditions only in A: {found.only_a}, only in B: {found.only_b}.{settings}"
