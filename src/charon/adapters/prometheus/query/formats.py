"""Writing what was asked of a Prometheus: JSON in its own shape, CSV and Parquet with a row a sample."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import tempfile
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from charon.adapters.prometheus.query.times import rfc3339
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from charon.adapters.prometheus.query.export import Export, Outcome

_NAME = "__name__"
_time = lru_cache(maxsize=100_000)(rfc3339)


def save(export: Export, about: Mapping[str, Any], kind: str, output: IO[bytes]) -> None:
    """Write an export in a format.

    Parameters
    ----------
    export
        What was collected.
    about
        Further metadata, as JSON values.
    kind
        ``json``, ``csv`` or ``parquet``.
    output
        Where to.
    """
    writers: dict[str, Callable[[Export, Mapping[str, Any], IO[bytes]], None]] = {
        "json": save_json,
        "csv": save_csv,
        "parquet": save_parquet,
    }
    writers[kind](export, about, output)


def save_json(export: Export, about: Mapping[str, Any], output: IO[bytes]) -> None:
    """Write the metadata, and each query with the answer as Prometheus gives it."""
    output.write(b'{"metadata":' + _dump(export.metadata(about)) + b',\n"queries":[')
    for k, outcome in enumerate(export.outcomes):
        output.write((b"\n" if k == 0 else b",\n") + b'{"query":' + _dump(outcome.query))
        if outcome.error:
            output.write(b',"status":"error","error":' + _dump(outcome.error) + b"}")
            continue
        output.write(b',"status":"success","data":{"resultType":"matrix","result":[')
        for n, line in enumerate(export.lines(outcome)):
            output.write((b"" if n == 0 else b",\n ") + line)
        output.write(b"]}}")
    output.write(b"\n]}\n")


def save_csv(export: Export, about: Mapping[str, Any], output: IO[bytes]) -> None:  # noqa: ARG001 - CSV has no place
    """Write a row for each sample: query, metric, labels, time in UTC, value as Prometheus writes it."""
    labels, headings = _columns(export)
    output.write(_row(["query", "metric", *headings, "time", "value"]).encode() + b"\n")
    for outcome in export.outcomes:
        for metric, values in _series(export, outcome):
            head = _row([outcome.query, metric.get(_NAME, ""), *(metric.get(label, "") for label in labels)])
            # Neither a time nor a value needs quotes.
            rows = "".join(f"{head},{_time(round(at * 1000))},{value}\n" for at, value in values)
            output.write(rows.encode())


def save_parquet(export: Export, about: Mapping[str, Any], output: IO[bytes]) -> None:
    """Write a table like that of the CSV; times and values as numbers, the metadata under ``charon``."""
    pa, pq = _pyarrow()
    labels, headings = _columns(export)
    words = pa.dictionary(pa.int32(), pa.string())
    columns = [("query", words), ("metric", words), *((heading, words) for heading in headings)]
    columns += [("time", pa.timestamp("ms", tz="UTC")), ("value", pa.float64())]
    schema = pa.schema(columns, metadata={"charon": json.dumps(export.metadata(about))})
    with pq.ParquetWriter(output, schema, compression="zstd") as writer:
        for outcome in export.outcomes:
            found = list(_series(export, outcome))
            sizes = [len(values) for _, values in found]
            heads = [
                (outcome.query, metric.get(_NAME, ""), *(metric.get(label) for label in labels)) for metric, _ in found
            ]
            arrays = [_repeated(pa, [head[k] for head in heads], sizes) for k in range(len(labels) + 2)]
            times = [round(at * 1000) for _, values in found for at, _ in values]
            arrays.append(pa.array(times, pa.int64()).cast(schema.field("time").type))
            arrays.append(pa.array([float(value) for _, values in found for _, value in values], pa.float64()))
            if times:
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def need_parquet() -> None:
    """Raise where Parquet cannot be written.

    Raises
    ------
    UnavailableError
        If pyarrow is not installed.
    """
    _pyarrow()


@contextmanager
def replacing(path: Path) -> Generator[IO[bytes]]:
    """Give a file to write; it takes the path's place when it is whole, and is gone when anything fails.

    Raises
    ------
    UsageError
        If there can be no such file.
    UnavailableError
        If it cannot be written to its end.
    """
    path = Path(os.path.realpath(path))
    if is_device(path):
        # A device or a pipe is written to, not replaced.
        with _opened(path) as file:
            yield file
        return
    part = _begun(path)
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except UnavailableError:
        raise
    except OSError as error:
        raise UnavailableError(f"{path}: {error.strerror or error}; nothing was saved") from error
    finally:
        part.unlink(missing_ok=True)


def is_device(path: Path) -> bool:
    """Return whether a path is there and neither a file nor a folder."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _begun(path: Path) -> Path:
    """Make the folder and an empty file beside the path."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file in it with --output")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name another file with --output") from error
    mask = os.umask(0)
    os.umask(mask)
    os.fchmod(handle, 0o666 & ~mask)
    os.close(handle)
    return Path(name)


@contextmanager
def _opened(path: Path) -> Generator[IO[bytes]]:
    try:
        with path.open("wb") as file:
            yield file
    except UnavailableError:
        raise
    except OSError as error:
        raise UnavailableError(f"{path}: {error.strerror or error}") from error


def _columns(export: Export) -> tuple[list[str], list[str]]:
    """Return the labels, and the headings of their columns: none is called as a column that is there always."""
    labels = sorted(export.labels - {_NAME})
    taken = {"query", "metric", "time", "value", *labels}
    headings: list[str] = []
    for label in labels:
        heading = label
        if label in {"query", "metric", "time", "value"}:
            while heading in taken:
                heading = f"label_{heading}"
            taken.add(heading)
        headings.append(heading)
    return labels, headings


def _series(export: Export, outcome: Outcome) -> Iterator[tuple[dict[str, str], list[tuple[float, str]]]]:
    for line in export.lines(outcome):
        entry = json.loads(line)
        yield entry["metric"], entry.get("values", [])


def _row(cells: list[str]) -> str:
    text = io.StringIO()
    # Only what ends a line is quoted where it stands in a cell.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n")


def _repeated(pa: Any, words: list[str | None], sizes: list[int]) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Return each word as often as its series has samples, without making so many of them."""
    kinds = {word: k for k, word in enumerate(dict.fromkeys(word for word in words if word is not None))}
    indices = pa.array(
        [None if word is None else kinds[word] for word, size in zip(words, sizes, strict=True) for _ in range(size)],
        pa.int32(),
    )
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(kinds), pa.string()))


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - few need it, and it takes long to load
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        install = f"{sys.executable} -m pip install pyarrow"
        raise UnavailableError(f"Parquet needs pyarrow: {install}; or save as json or csv") from error
    return pa, pq


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
