"""Every series that an export saves is read back from each format; other files are one clear error."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charon.adapters.prometheus.query import Export, QueryRange, QueryResult, read_saved, save
from charon.adapters.prometheus.query.series import parse_series
from charon.errors import UnavailableError, UsageError

KINDS = ("json", "csv", "parquet")
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
LABELS = st.dictionaries(st.sampled_from(["__name__", "pod", "vertex", "query", "time", "value"]), TEXT, max_size=4)
VALUES = st.sampled_from(["0", "1.5", "-2e-7", "NaN", "+Inf", "-Inf", "123456789.125"])
SAMPLES = st.lists(st.tuples(st.integers(0, 10_000).map(lambda step: 1_755_528_477 + step / 4), VALUES), min_size=1)


def save_series(series, kind, failed=()):
    """Return the file of an export with series by query."""
    queries = [*series, *failed]
    with Export(queries, QueryRange(1_755_528_000_000, 1_755_538_000_000, 250)) as export:
        for exported in export.queries:
            if exported.query in failed:
                exported.error = "parse error"
                continue
            entries = [{"metric": labels, "values": values} for labels, values in series[exported.query]]
            export._write(exported, QueryResult([parse_series(entry) for entry in entries], []))
        output = io.BytesIO()
        save(export, {}, kind, output)
        return output.getvalue()


def distinct(values):
    return [(at, value) for at, value in dict(values).items()]


SERIES = st.lists(st.tuples(LABELS, SAMPLES.map(distinct)), max_size=3, unique_by=lambda s: str(sorted(s[0].items())))


@pytest.mark.parametrize("kind", KINDS)
@given(series=st.dictionaries(TEXT, SERIES, max_size=4))
@settings(max_examples=50)
def test_saved_series_are_read_back(tmp_path_factory, kind, series):
    path = tmp_path_factory.mktemp("saved") / "metrics"
    path.write_bytes(save_series(series, kind, failed=["failed("]))
    expected = [(query, labels, values) for query, found in series.items() for labels, values in found]
    found = read_saved(path)
    assert [(saved.query, saved.labels) for saved in found] == [(query, labels) for query, labels, _ in expected]
    for saved, (_, _, values) in zip(found, expected, strict=True):
        assert saved.times_s == pytest.approx(np.array([at for at, _ in values]), abs=1e-3)
        assert np.array_equal(saved.values, np.array([float(value) for _, value in values]), equal_nan=True)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{}",
        b'{"queries": [{"query": "up", "status": "success"}]}',
        b'{"queries": [{"query": 3, "status": "success", "data": {"result": [{"metric": {}, "values": []}]}}]}',
        b"[1]",
        b"time,value\n1,2\n",
        b"query,metric,time,value\nup,up,2025-08-18T14:47:57Z\n",
        b"query,metric,time,value\nup,up,2025-08-18T14:47:57,1\n",
        b"query,metric,time,value\nup,up,yesterday,1\n",
        b'query,metric,time,value\n"up,up,2025-08-18T14:47:57Z,1\n',
        b"PAR1 damaged PAR1",
        b"PAR1",
    ],
)
def test_other_file_is_one_clear_error(tmp_path, content):
    path = tmp_path / "other.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"other\.csv: not a saved export, or incomplete \(.*\); use a file") as raised:
        read_saved(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_file_is_an_error(tmp_path, kind):
    series = {"up": [({"pod": "a"}, [(1_755_528_477 + k, "1") for k in range(50)])]}
    path = tmp_path / "metrics"
    path.write_bytes(save_series(series, kind)[:-12])
    with pytest.raises(UsageError, match="incomplete"):
        read_saved(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UnavailableError, match=r"missing\.json: cannot read the file: No such file"):
        read_saved(tmp_path / "missing.json")
