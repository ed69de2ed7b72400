"""Save an export as JSON in the format of Prometheus's API, or as CSV or Parquet with one row per sample."""

from __future__ import annotations

import csv
import io
import json
import sys
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any

from charon.adapters.prometheus.query.series import to_json
from charon.adapters.timestamps import rfc3339
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from charon.adapters.prometheus.query.export import Export, ExportedQuery

_NAME_LABEL = "__name__"
_FIXED_COLUMNS = ("query", "metric", "time", "value")
_time = lru_cache(maxsize=100_000)(rfc3339)


def save(export: Export, provenance: Mapping[str, object], kind: str, output: IO[bytes]) -> None:
    """Write an export to a file.

    Parameters
    ----------
    export
        Export with its results.
    provenance
        Further metadata, as JSON values.
    kind
        ``json``, ``csv`` or ``parquet``.
    output
        Binary file.
    """
    writers: dict[str, Callable[[Export, Mapping[str, object], IO[bytes]], None]] = {
        "json": save_json,
        "csv": save_csv,
        "parquet": save_parquet,
    }
    writers[kind](export, provenance, output)


def save_json(export: Export, provenance: Mapping[str, object], output: IO[bytes]) -> None:
    """Write the metadata, and each query with its result in the format of Prometheus's API."""
    output.write(b'{"metadata":' + to_json({**export.metadata(), **provenance}) + b',\n"queries":[')
    for k, exported in enumerate(export.queries):
        output.write((b"\n" if k == 0 else b",\n") + b'{"query":' + to_json(exported.query))
        if exported.error:
            output.write(b',"status":"error","error":' + to_json(exported.error) + b"}")
            continue
        output.write(b',"status":"success","data":{"resultType":"matrix","result":[')
        for n, line in enumerate(export.lines(exported)):
            output.write((b"" if n == 0 else b",\n ") + line)
        output.write(b"]}}")
    output.write(b"\n]}\n")


def save_csv(export: Export, provenance: Mapping[str, object], output: IO[bytes]) -> None:  # noqa: ARG001 - CSV has no metadata
    """Write one row per sample: query, metric, labels, time in UTC, value as Prometheus writes it."""
    labels, headings = _columns(export)
    output.write(_csv_row(["query", "metric", *headings, "time", "value"]).encode() + b"\n")
    for exported in export.queries:
        for metric, values in _series(export, exported):
            head = _csv_row([exported.query, metric.get(_NAME_LABEL, ""), *(metric.get(label, "") for label in labels)])
            # Times and values never need quotes.
            rows = "".join(f"{head},{_time(round(at * 1000))},{value}\n" for at, value in values)
            output.write(rows.encode())


def save_parquet(export: Export, provenance: Mapping[str, object], output: IO[bytes]) -> None:
    """Write the same table as `save_csv`, with numeric times and values, and the metadata under the key ``charon``."""
    pa, pq = import_pyarrow()
    labels, headings = _columns(export)
    text = pa.dictionary(pa.int32(), pa.string())
    columns = [("query", text), ("metric", text), *((heading, text) for heading in headings)]
    columns += [("time", pa.timestamp("ms", tz="UTC")), ("value", pa.float64())]
    schema = pa.schema(columns, metadata={"charon": json.dumps({**export.metadata(), **provenance})})
    with pq.ParquetWriter(output, schema, compression="zstd") as writer:
        for exported in export.queries:
            if exported.sample_count:
                writer.write_table(_table(pa, schema, export, exported, labels))


def require_pyarrow() -> None:
    """Check that Parquet can be written.

    Raises
    ------
    UnavailableError
        If pyarrow is not installed.
    """
    import_pyarrow()


def _columns(export: Export) -> tuple[list[str], list[str]]:
    """Return the labels and their column headings, none of which is the heading of a fixed column."""
    labels = sorted(export.labels - {_NAME_LABEL})
    used = {*_FIXED_COLUMNS, *labels}
    headings: list[str] = []
    for label in labels:
        heading = label
        if label in _FIXED_COLUMNS:
            while heading in used:
                heading = f"label_{heading}"
            used.add(heading)
        headings.append(heading)
    return labels, headings


def _series(export: Export, exported: ExportedQuery) -> Iterator[tuple[dict[str, str], list[tuple[float, str]]]]:
    for line in export.lines(exported):
        entry = json.loads(line)
        yield entry["metric"], entry.get("values", [])


def _csv_row(cells: list[str]) -> str:
    text = io.StringIO()
    # The writer quotes a line break in a cell only if its own line terminator contains it.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n")


def _table(pa: Any, schema: Any, export: Export, exported: ExportedQuery, labels: list[str]) -> Any:  # noqa: ANN401 - pyarrow has no types
    series = list(_series(export, exported))
    sizes = [len(values) for _, values in series]
    heads = [
        (exported.query, metric.get(_NAME_LABEL, ""), *(metric.get(label) for label in labels)) for metric, _ in series
    ]
    arrays = [_repeated(pa, [head[k] for head in heads], sizes) for k in range(len(labels) + 2)]
    times = [round(at * 1000) for _, values in series for at, _ in values]
    arrays.append(pa.array(times, pa.int64()).cast(schema.field("time").type))
    arrays.append(pa.array([float(value) for _, values in series for _, value in values], pa.float64()))
    return pa.Table.from_arrays(arrays, schema=schema)


def _repeated(pa: Any, texts: list[str | None], sizes: list[int]) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Return a dictionary array that repeats each text for every sample of its series."""
    codes = {text: k for k, text in enumerate(dict.fromkeys(text for text in texts if text is not None))}
    indices = pa.array(
        [None if text is None else codes[text] for text, size in zip(texts, sizes, strict=True) for _ in range(size)],
        pa.int32(),
    )
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(codes), pa.string()))


def import_pyarrow() -> tuple[Any, Any]:
    """Return the modules ``pyarrow`` and ``pyarrow.parquet``.

    Raises
    ------
    UnavailableError
        If pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional, and slow to import
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        install = f"{sys.executable} -m pip install pyarrow"
        raise UnavailableError(f"Parquet requires pyarrow; run: {install}, or use --format json or csv") from error
    return pa, pq
