"""The results folder: what is added can be read again, and a damaged file affects only its own cell."""

from __future__ import annotations

import errno
import fcntl
import json
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from comparison_data import a_comparison, a_plan, a_result, some_samples

from charon.comparison.model import CellResult
from charon.comparison.results import ResultsFolder
from charon.comparison.samples import FrameSamples
from charon.errors import UnavailableError, UsageError


@pytest.fixture
def folder(tmp_path):
    return ResultsFolder.create(tmp_path / "results", a_comparison())


def columns_of(samples):
    return {field.name: getattr(samples, field.name) for field in fields(FrameSamples)}


def test_results_are_read_in_order(folder):
    results = [a_result(10), a_result(2, attempt=2), a_result(2, invalid="machine busy"), a_result(1)]
    for result in results:
        folder.add(result, None)
    opened = ResultsFolder.open(folder.path)
    assert opened.results() == folder.results() == [results[3], results[2], results[1], results[0]]
    assert opened.comparison == a_comparison()
    assert opened.problems == []


def test_samples_are_read_with_their_types(folder):
    result, samples = a_result(), some_samples()
    folder.add(result, samples)
    read = ResultsFolder.open(folder.path).samples(result)
    for name, column in columns_of(read).items():
        expected = columns_of(samples)[name]
        assert column.dtype == expected.dtype
        assert np.array_equal(column, expected)


def test_empty_samples_keep_their_types(folder):
    folder.add(a_result(), some_samples(0))
    read = folder.samples(a_result())
    assert {name: column.dtype for name, column in columns_of(read).items()} == {
        name: column.dtype for name, column in columns_of(some_samples()).items()
    }


def test_parquet_has_a_row_per_frame(folder):
    result, samples = a_result(3), some_samples()
    folder.add(result, samples)
    table = pq.read_table(folder.path / "samples/0003-1.parquet")
    assert {name: table[name].to_pylist() for name in table.column_names} == {
        name: column.tolist() for name, column in columns_of(samples).items()
    }
    assert CellResult.model_validate_json(table.schema.metadata[b"charon"]) == result


def test_failed_cell_has_no_samples(folder):
    result = a_result(failure="too little memory")
    folder.add(result, None)
    assert folder.samples(result) is None
    assert folder.problems == []


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "EOF"),
        (b"\xff\x00", "Invalid JSON"),
        (b"{}", "cell: Field required"),
        (a_result(7).model_dump_json().encode(), "contains cell 7, attempt 1"),
    ],
)
def test_damaged_cell_affects_only_itself(folder, content, cause):
    for number in (1, 2, 3):
        folder.add(a_result(number), some_samples())
    damaged = folder.path / "cells/0002-1.json"
    damaged.write_bytes(content)
    opened = ResultsFolder.open(folder.path)
    assert [result.cell.number for result in opened.results()] == [1, 3]
    (problem,) = opened.problems
    assert problem.startswith(f"{damaged}: damaged: ")
    assert cause in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda text: text[:-20], "not valid JSON"),
        (lambda text: json.dumps([]), "not an object with the columns"),
        (lambda text: text.replace("[1,2,3,4,5]", "[1,2,3,4]"), "columns of different length"),
        (lambda text: text.replace("[1,2,3,4,5]", "[1,2,3,4,null]"), "column unique_id is not a list of int"),
        (lambda text: text.replace("[1,2,3,4,5]", f"[1,2,3,4,{2**63}]"), "beyond 64 bits"),
    ],
)
def test_damaged_samples_are_reported_once(folder, change, cause):
    result = a_result()
    folder.add(result, some_samples())
    damaged = folder.path / "samples/0001-1.json"
    damaged.write_text(change(damaged.read_text()))
    opened = ResultsFolder.open(folder.path)
    assert opened.samples(result) is None
    assert opened.samples(result) is None
    (problem,) = opened.problems
    assert problem.startswith(f"{damaged}: damaged: ")
    assert cause in problem
    assert opened.results() == [result]


def test_damaged_cell_can_be_added_again(folder):
    folder.add(a_result(1), None)
    (folder.path / "cells/0001-1.json").write_text("{")
    opened = ResultsFolder.open(folder.path)
    opened.set_damaged_aside()
    opened.add(a_result(1), None)
    again = ResultsFolder.open(folder.path)
    assert again.results() == [a_result(1)]
    assert again.problems == []
    assert (folder.path / "cells/0001-1.json.damaged").read_text() == "{"


def test_folder_of_another_format_is_named(folder):
    file = folder.path / "comparison.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 2}))
    expected = f"{file}: format 2, and this version of Charon reads format 1; use the version that wrote it"
    with pytest.raises(UsageError, match=f"^{re.escape(expected)}$"):
        ResultsFolder.open(folder.path)


def test_folder_that_cannot_be_written_is_one_error(folder):
    folder.add(a_result(1), None)
    (folder.path / "samples").write_text("a file")
    with pytest.raises(UnavailableError, match=r"samples/.*: .*; the comparison can be continued with --resume"):
        folder.add(a_result(2), some_samples())
    (folder.path / "cells/0001-1.json").write_text("{")
    opened = ResultsFolder.open(folder.path)
    (folder.path / "cells/0001-1.json.damaged").mkdir()
    (folder.path / "cells/0001-1.json.damaged/notes").touch()
    with pytest.raises(UnavailableError, match=r"0001-1.json: .*; remove it"):
        opened.set_damaged_aside()


def test_occupied_folder_is_not_overwritten(folder):
    with pytest.raises(UsageError, match=r"is not empty; choose another folder with --output, or continue .* --resume"):
        ResultsFolder.create(folder.path, a_comparison())


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(UsageError, match="absent: no such folder"):
        ResultsFolder.open(tmp_path / "absent")


def test_folder_without_comparison_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"contains no comparison\.json"):
        ResultsFolder.open(tmp_path)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("{", "Expecting property name"),
        ("[]", "Input should be an object"),
        ('{"format": 1}', "plan: Field required"),
        ('{"format": "two"}', "format: Input should be 1"),
    ],
)
def test_damaged_comparison_is_named(folder, content, cause):
    (folder.path / "comparison.json").write_text(content)
    with pytest.raises(UsageError, match=r"comparison\.json: damaged: .*" + cause):
        ResultsFolder.open(folder.path)


def test_update_replaces_the_comparison(folder):
    changed = a_comparison(a_plan(seed=5))
    folder.update(changed)
    assert ResultsFolder.open(folder.path).comparison == folder.comparison == changed


def test_full_disk_keeps_earlier_cells(small_disk):
    folder = ResultsFolder.create(small_disk(1) / "results", a_comparison())
    folder.add(a_result(1), some_samples())
    with pytest.raises(UnavailableError, match="No space left"):
        folder.add(a_result(2), some_samples(100_000))
    opened = ResultsFolder.open(folder.path)
    assert opened.results() == [a_result(1)]
    assert opened.problems == []
    assert not list(folder.path.rglob("*.part"))


def test_file_system_without_locks_is_named(folder, monkeypatch):
    def flock(_descriptor, _operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(UnavailableError, match="cannot be locked: No locks available; choose a folder on a local disk"),
        folder.locked(),
    ):
        pass


def test_unreadable_cells_are_an_error(folder, monkeypatch):
    def iterdir(_path):
        raise PermissionError(errno.EACCES, "Permission denied")

    folder.add(a_result(1), None)
    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(UsageError, match=r"cells: cannot be read: Permission denied; change its permissions"):
        ResultsFolder.open(folder.path)


def test_second_writer_is_refused(folder):
    with (
        folder.locked(),
        pytest.raises(UsageError, match="another charonctl compare is running"),
        ResultsFolder.open(folder.path).locked(),
    ):
        pass
    with folder.locked():
        pass
