"""``charonctl compare`` with synthetic engines: options, interrupt, continuation, damaged results, reports."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import pytest
from comparison_data import a_comparison, a_plan, a_result
from queueing_model import QueueingModel, SyntheticRunner

from charon.adapters.inference.bundle import load_bundle
from charon.cli.compare import measure, planning
from charon.cli.exit_status import run_command
from charon.cli.main import cli
from charon.comparison.results import ResultsFolder

ENGINES = {"embedded": QueueingModel(0.008), "baseline": QueueingModel(0.004, queue=20)}
BRIEF = ["--rates", "60", "--repetitions", "2", "--duration", "1", "--warm-up", "0.2", "--parts", "load,maximum"]


@pytest.fixture
def synthetic(monkeypatch):
    """Return a function that replaces the engines by synthetic ones and returns their runner."""

    def replace(**options):
        runner = SyntheticRunner(ENGINES, **options)
        monkeypatch.setattr(measure, "run_cell", runner)
        return runner

    return replace


@pytest.fixture
def compare(synthetic, capsys):
    """Return a function that runs the command and returns its status, output and errors."""
    synthetic()

    def run(*arguments):
        status = run_command(cli, ["compare", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def keys_of(folder):
    return [(r.cell, r.attempt) for r in ResultsFolder.open(folder).results()]


def test_comparison_ends_with_table_and_report(compare, tmp_path):
    folder = tmp_path / "results"
    status, out, err = compare(*BRIEF, "--output", folder)
    assert status == 0
    lines = out.splitlines()
    assert lines[0].split() == ["embedded", "baseline", "embedded", "/", "baseline"]
    assert lines[-1] == f"report: {folder / 'report.html'}"
    assert (folder / "report.html").stat().st_size > 1000
    assert "load embedded 60 frames/s (ptychonn2-sim): 72 of 72 frames" in err
    comparison = ResultsFolder.open(folder).comparison
    assert comparison.command == "charonctl compare " + " ".join([*BRIEF, "--output", str(folder)])
    assert comparison.ended_ns is not None
    assert comparison.ended_ns > comparison.started_ns


def test_maximum_in_the_table_is_that_of_the_engine(compare, tmp_path):
    _, out, _ = compare(*BRIEF, "--output", tmp_path / "results")
    lines = out.splitlines()
    embedded_hz, baseline_hz = map(float, lines[lines.index("highest loss-free rate, ptychonn2-sim:") + 1].split()[1:])
    assert embedded_hz == pytest.approx(1 / 0.008, rel=0.2)
    assert baseline_hz == pytest.approx(1 / 0.004, rel=0.2)


def test_model_determines_the_frame_shape(compare, synthetic, tmp_path):
    runner = synthetic()
    compare(*BRIEF, "--model", "ptychonn2-siemens", "--model", "ptychonn2-sim", "--output", tmp_path / "results")
    shapes = {(cell.condition.model, cell.condition.shape) for cell, _ in runner.calls}
    assert shapes == {
        (model, load_bundle(model).card.input.detector_shape) for model in ("ptychonn2-siemens", "ptychonn2-sim")
    }


def test_quiet_prints_only_the_end(compare, tmp_path):
    status, out, err = compare(*BRIEF, "--output", tmp_path / "results", "--quiet")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1].startswith("report: ")


def test_interrupted_comparison_is_continued(compare, synthetic, tmp_path):
    compare(*BRIEF, "--output", tmp_path / "complete")
    folder = tmp_path / "results"
    first = synthetic(interrupt=3)
    status, out, err = compare(*BRIEF, "--output", folder)
    assert (status, out) == (130, "")
    assert err.splitlines()[-3:] == [
        f"interrupted; 3 results are kept in {folder}",
        f"report of these results: charonctl compare --from {folder}",
        f"continue with: charonctl compare --output {folder} --resume",
    ]
    assert ResultsFolder.open(folder).comparison.ended_ns is None
    second = synthetic()
    status, out, err = compare("--output", folder, "--resume")
    assert status == 0
    assert "3 cells were measured before" in err
    assert keys_of(folder) == keys_of(tmp_path / "complete") == first.calls + second.calls
    assert ResultsFolder.open(folder).comparison.command.endswith(f"--parts load,maximum --output {folder}")


def test_printed_commands_can_be_pasted(compare, synthetic, tmp_path):
    folder = tmp_path / """it's <i> & "new" """
    synthetic(interrupt=3)
    _, _, err = compare(*BRIEF, "--output", folder)
    commands = [shlex.split(line.partition(": ")[2])[2:] for line in err.splitlines()[-2:]]
    assert commands == [["--from", str(folder)], ["--output", str(folder), "--resume"]]
    synthetic()
    assert [compare(*command)[0] for command in commands] == [0, 0]


def test_interrupted_report_can_be_written_again(compare, tmp_path, monkeypatch):
    def interrupt(_folder):
        raise KeyboardInterrupt

    folder = tmp_path / "results"
    with monkeypatch.context() as patch:
        patch.setattr(measure, "write_and_print", interrupt)
        status, _, err = compare(*BRIEF, "--output", folder)
    assert status == 130
    assert f"report of these results: charonctl compare --from {folder}" in err.splitlines()
    assert ResultsFolder.open(folder).comparison.ended_ns is not None
    assert compare("--from", folder)[0] == 0


def test_cells_of_another_process_are_kept(compare, synthetic, tmp_path, monkeypatch):
    folder = tmp_path / "results"
    compare(*BRIEF, "--output", tmp_path / "complete")
    complete = ResultsFolder.open(tmp_path / "complete")
    synthetic(interrupt=3)
    compare(*BRIEF, "--output", folder)

    def check_machine(plan):
        # Until the folder is locked, another process completes the comparison.
        other = ResultsFolder.open(folder)
        for result in complete.results()[3:]:
            other.add(result, complete.samples(result))
        return planning.check_machine(plan)

    monkeypatch.setattr(measure, "check_machine", check_machine)
    runner = synthetic()
    assert compare("--output", folder, "--resume")[0] == 0
    assert runner.calls == []


def test_damaged_cell_is_named_and_measured_again(compare, synthetic, tmp_path):
    folder = tmp_path / "results"
    compare(*BRIEF, "--output", folder)
    before = keys_of(folder)
    damaged = folder / "cells/0002-1.json"
    damaged.write_text('{"cell":')
    status, _, err = compare("--from", folder)
    assert status == 0
    assert f"warning: {damaged}: damaged: " in err
    runner = synthetic()
    status, _, err = compare("--output", folder, "--resume")
    assert status == 0
    assert f"warning: {damaged}: damaged: " in err
    assert [cell.number for cell, _ in runner.calls] == [2]
    assert keys_of(folder) == before


def test_failing_engine_is_reported(compare, synthetic, tmp_path):
    synthetic(failing=frozenset({"baseline"}))
    status, out, err = compare(*BRIEF, "--output", tmp_path / "results")
    assert status == 0
    assert "load baseline 60 frames/s (ptychonn2-sim): failed: the engine does not start" in err
    assert "results are invalid or failed" in out
    (losses,) = [line for line in out.splitlines() if "frames without a result" in line]
    assert losses.split() == ["frames", "without", "a", "result", "0", "of", "144", "-"]


def test_nothing_usable_exits_with_1(compare, synthetic, tmp_path):
    synthetic(failing=frozenset(ENGINES))
    status, out, _ = compare(*BRIEF, "--output", tmp_path / "results")
    assert status == 1
    assert out.startswith("no part has a valid result\n")


def test_report_is_written_again(compare, synthetic, tmp_path):
    folder = tmp_path / "results"
    _, first_out, _ = compare(*BRIEF, "--output", folder)
    (folder / "report.html").unlink()
    runner = synthetic()
    status, out, err = compare("--from", folder)
    assert (status, out, err) == (0, first_out, "")
    assert (folder / "report.html").exists()
    assert runner.calls == []


def test_report_of_two_folders_contains_ratios(compare, tmp_path):
    for name in ("one", "two"):
        compare(*BRIEF, "--seed", len(name), "--output", tmp_path / name)
    status, out, err = compare("--from", tmp_path / "one", "--from", tmp_path / "two", "--output", tmp_path / "r.html")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"A: {tmp_path / 'one'}: {os.uname().nodename}, ")
    assert lines[1].startswith(f"B: {tmp_path / 'two'}: ")
    assert "embedded, ptychonn2-sim, 60 frames/s:" in lines
    (cpu_time,) = [line.split() for line in lines if "CPU time" in line][:1]
    assert cpu_time[-4:] == ["1.00", "(1.00", "to", "1.00)"]
    assert (tmp_path / "r.html").stat().st_size > 1000


def test_two_metrics_files_are_compared(compare, tmp_path):
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for file, factor in zip(files, (1, 2), strict=True):
        rows = [f"cpu,,cat,2025-01-01T00:00:{second:02}Z,{factor * (5 + second % 2)}" for second in range(60)]
        file.write_text("\n".join(["query,metric,vertex,time,value", *rows]) + "\n")
    status, out, err = compare("--from", files[0], "--from", files[1])
    assert (status, err) == (0, "")
    assert out.splitlines()[:2] == [f"A: {files[0]}", f"B: {files[1]}"]
    assert out.splitlines()[2].startswith('cpu {vertex="cat"}: A 5.5, B 11, A / B 0.50 (0.')
    status, out, err = compare("--from", files[0], "--from", files[1], "--output", tmp_path / "r.html")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == f"report: {tmp_path / 'r.html'}"
    assert "0.50 (0." in (tmp_path / "r.html").read_text()
    status, _, err = compare("--from", files[0])
    assert status == 2
    assert err == "error: --from: two files of charonctl metrics can be compared; use --from FILE --from FILE\n"


PLAN_FIELD = r"its plan has {} = {}, not {}; omit the plan's options with --resume, or choose another folder"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--rates", "60,80"], PLAN_FIELD.format("rates_hz", "60", "60,80")),
        (["--seed", "1"], PLAN_FIELD.format("seed", "0", "1")),
        (["--quick"], PLAN_FIELD.format("overload_s", "20", "8")),
        (["--stitch"], PLAN_FIELD.format("stitch", "False", "True")),
    ],
)
def test_resume_with_another_plan_is_refused(compare, synthetic, tmp_path, arguments, expected):
    folder = tmp_path / "results"
    compare(*BRIEF, "--output", folder)
    runner = synthetic()
    status, out, err = compare(*BRIEF, *arguments, "--output", folder, "--resume")
    assert (status, out, err) == (2, "", f"error: {folder}: {expected}\n")
    assert runner.calls == []


def test_resume_with_the_same_plan_is_accepted(compare, synthetic, tmp_path):
    folder = tmp_path / "results"
    compare(*BRIEF, "--output", folder)
    runner = synthetic()
    assert compare(*BRIEF, "--output", folder, "--resume")[0] == 0
    assert compare("--rates", "60", "--output", folder, "--resume")[0] == 0
    assert runner.calls == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"commit": "0" * 40}, "measured with commit " + "0" * 40 + ", not "),
        ({"versions": {"charon": "0.0.1"}}, "measured with charon 0.0.1, not "),
    ],
)
def test_resume_with_other_software_is_refused(compare, synthetic, tmp_path, changes, expected):
    folder = tmp_path / "results"
    compare(*BRIEF, "--output", folder)
    opened = ResultsFolder.open(folder)
    opened.update(opened.comparison.model_copy(update=changes))
    runner = synthetic()
    status, _, err = compare("--output", folder, "--resume")
    assert status == 2
    assert expected in err
    assert len(err.splitlines()) == 1
    assert runner.calls == []


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Return the current folder, with an empty and an occupied one in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied/notes.txt").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engines", "embeded,baseline"], "unknown name 'embeded'; did you mean embedded?"),
        (["--engines", "fast,baseline"], "unknown name 'fast'; use embedded, baseline, numaflow, baseline-pods"),
        (["--engines", "baseline,baseline"], "baseline is given twice; remove one"),
        (["--engines", "embedded"], "--engines: only embedded is given; add a second engine, or use --parts noise"),
        (["--engines", "baseline-pods,baseline", "--stitch"], "baseline-pods has no stitching consumer"),
        (["--parts", "load,speed"], "unknown name 'speed'"),
        (["--parts", "overload"], "--parts: overload requires maximum; add maximum"),
        (["--rates", "50,-1"], "-1: must be a positive number of frames/s"),
        (["--rates", "0"], "0: must be a positive number of frames/s"),
        (["--rates", "nan"], "nan: must be a positive number of frames/s"),
        (["--rates", "50,fast"], "'fast' is not a number; use rates such as 50,100"),
        (["--rates", "50,50.0"], "50 is given twice; remove one"),
        (["--rates", "1e308"], "--rates: 1e+308: must be at most 20000 frames/s"),
        (["--rates", "2,100", "--duration", "4"], "a cell of 4 s has fewer than 10 frames at 2 frames/s; raise the"),
        (["--output", "out-\udcff"], "out-\\xff: the name is not valid UTF-8; rename it or choose another"),
        (["--model", "\udcff"], "\\xff: the name is not valid UTF-8"),
        (["--from", "\udcff"], "\\xff: the name is not valid UTF-8"),
        (["--replicas", "0"], "--replicas: 0: must be at least 1"),
        (["--model", "absent"], "model bundle 'absent' not found"),
        (["--repetitions", "0"], "0: must be at least 1"),
        (["--duration", "0"], "0.0: must be at least 1"),
        (["--quick", "--full"], "--quick and --full exclude each other; use one of them"),
        (["--resume"], "--resume requires --output"),
        (["--resume", "--output", "absent"], "absent: no such folder"),
        (["--resume", "--output", "empty"], "empty contains no comparison.json"),
        (["--from", "absent"], "absent: no such folder"),
        (["--from", "empty"], "empty contains no comparison.json"),
        (["--from", "empty", "--rates", "50"], "--from measures nothing; remove --rates"),
        (["--from", "a", "--from", "b", "--from", "c"], "--from is given 3 times; use it once or twice"),
        (["--output", "occupied"], "occupied is not empty; choose another folder with --output"),
    ],
)
def test_bad_input_is_one_line(compare, synthetic, folders, arguments, message):
    runner = synthetic()
    status, out, err = compare(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert runner.calls == []
    assert sorted(path.name for path in folders.iterdir()) == ["empty", "occupied"]


def test_engine_on_a_cluster_needs_a_cluster(compare, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    status, _, err = compare("--engines", "numaflow,baseline-pods", "--output", tmp_path / "results")
    assert status == 2
    assert err.startswith("error: engine numaflow requires a cluster: ")
    assert not (tmp_path / "results").exists()


def test_engine_without_driver_is_refused(compare, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "MEASURABLE", ("embedded", "baseline"))
    (tmp_path / "config").touch()
    (tmp_path / "kubectl").touch(0o755)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    status, _, err = compare("--engines", "embedded,numaflow", "--output", tmp_path / "results")
    assert (status, err) == (2, "error: engine numaflow cannot be measured yet; use embedded, baseline\n")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("package", ["pvapy", "bokeh", "pyarrow"])
def test_missing_package_is_named_before_the_start(compare, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    status, _, err = compare(*BRIEF, "--output", tmp_path / "results")
    assert (status, err) == (2, f"error: compare requires {package}; run: {sys.executable} -m pip install {package}\n")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("package", ["pvapy", "bokeh", "pyarrow"])
def test_package_missing_from_the_start_is_named(tmp_path, package):
    arguments = ["compare", *BRIEF, "--output", str(tmp_path / "results")]
    code = f"import sys; sys.modules[{package!r}] = None\nfrom charon.cli.main import main; main({arguments!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    expected = f"error: compare requires {package}; run: {sys.executable} -m pip install {package}\n"
    assert (done.returncode, done.stderr) == (2, expected)


def test_damaged_comparison_is_named(compare, tmp_path):
    folder = ResultsFolder.create(tmp_path / "results", a_comparison(a_plan()))
    folder.add(a_result(), None)
    (folder.path / "comparison.json").write_text(json.dumps({"format": 1}))
    for arguments in (["--from", folder.path], ["--resume", "--output", folder.path]):
        status, _, err = compare(*arguments)
        assert status == 2
        assert err.startswith(f"error: {folder.path / 'comparison.json'}: damaged: plan: Field required")


def test_folder_in_use_is_refused(compare, synthetic, tmp_path):
    folder = tmp_path / "results"
    compare(*BRIEF, "--output", folder)
    runner = synthetic()
    with ResultsFolder.open(folder).locked():
        status, _, err = compare("--resume", "--output", folder)
    assert status == 2
    assert "another charonctl compare is running" in err
    assert runner.calls == []
