"""Resources of pods, from the output of the command that reads /proc."""

import subprocess

import pytest

from charon.comparison.running.pods.resources import SAMPLE_COMMAND, NodesSeries, read_samples

SECOND = 1_000_000_000


def line(time_ns, cpu_ticks, pages, busy_ticks):
    process = f"1 (pvapy (hpc) c) S {'0 ' * 10}{cpu_ticks - 5} 5 0 0"
    return f"{time_ns}|{process}|9000 {pages} 1|cpu {busy_ticks} 0 0 777 3 9 9 0 0 0\n"


def test_samples_are_read_in_their_units(tmp_path):
    path = tmp_path / "samples"
    path.write_text(line(5 * SECOND, 50, 100, 300) + line(7 * SECOND, 150, 120, 500) + "8|incompl")
    samples = read_samples(path)
    (process,) = samples.process
    assert process.cpu_s == [0.5, 1.5]
    assert process.rss_bytes == [100 * 4096, 120 * 4096]
    assert process.cpu_between(5 * SECOND, 6 * SECOND) == pytest.approx(0.5)
    assert samples.node.busy_between(5 * SECOND, 7 * SECOND) == pytest.approx(2.0)


def test_restarted_process_has_a_second_series(tmp_path):
    path = tmp_path / "samples"
    path.write_text(line(1, 500, 1, 1) + line(2, 600, 1, 2) + line(3, 20, 1, 3))
    assert [series.cpu_s for series in read_samples(path).process] == [[5.0, 6.0], [0.2]]


def test_missing_file_has_no_samples(tmp_path):
    assert read_samples(tmp_path / "missing").process == []


def test_nodes_are_added_up(tmp_path):
    path = tmp_path / "samples"
    path.write_text(line(0, 10, 1, 100) + line(SECOND, 10, 1, 200))
    node = read_samples(path).node
    assert NodesSeries([node, node]).busy_between(0, SECOND) == pytest.approx(2.0)


def test_command_prints_lines_that_can_be_read(tmp_path):
    path = tmp_path / "samples"
    with path.open("wb") as file:
        process = subprocess.Popen(SAMPLE_COMMAND, stdout=file)
        try:
            process.wait(0.8)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    samples = read_samples(path)
    assert samples.process[0].rss_bytes[0] > 0
    assert samples.node.busy_s[0] > 0
