"""Parameter types accept valid values and report invalid ones with the expected form."""

from __future__ import annotations

import click
import pytest

from charon.cli.exit_status import run_command
from charon.cli.parameters import FiniteRange, Numbers, Seconds, Shape, ShippedPath


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (FiniteRange(0), "0", 0.0),
        (Seconds(), "1.5", 1.5),
        (Numbers(), "7", {7}),
        (Numbers(), "7,10-12", {7, 10, 11, 12}),
        (Shape("ROWSxCOLUMNS"), "48x64", (48, 64)),
        (Shape("ROWSxCOLUMNS"), "048X64", (48, 64)),
    ],
)
def test_valid_value_is_converted(kind, text, value):
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (FiniteRange(0), "nan", "not a finite number"),
        (FiniteRange(0), "inf", "not a finite number"),
        (Seconds(), "nan", "not a finite number"),
        (Seconds(), "1e9", "1e9: must be at least 0 and at most 10000000 s"),
        (Seconds(1), "0.5", "0.5 is not in the range"),
        (Numbers(), "3-x", "not a list of numbers"),
        (Numbers(), "1,9-7", "'9-7' is a reversed range; use 7-9"),
        (Shape("ROWSxCOLUMNS"), "48", "not ROWSxCOLUMNS"),
        (Shape("ROWSxCOLUMNS"), "0x4", "positive numbers"),
        (Shape("ROWSxCOLUMNS"), "4x-4", "positive numbers"),
    ],
)
def test_invalid_value_is_reported(kind, text, message):
    with pytest.raises(click.BadParameter, match=message):
        kind.convert(text, None, None)


@pytest.mark.parametrize("typed", [True, False])
def test_shipped_file_is_reported_if_typed(typed, tmp_path, monkeypatch, capsys):
    @click.command()
    @click.option("--manifest", type=ShippedPath(), default="workflows/aps/numaflow-aps-live.yaml")
    def show(manifest):
        click.echo(manifest)

    monkeypatch.chdir(tmp_path)
    assert run_command(show, ["--manifest", "workflows/aps/numaflow-aps.yaml"] if typed else []) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("/")
    reported = "workflows/aps/numaflow-aps.yaml: not found; using the copy shipped with Charon\n"
    assert captured.err == (reported if typed else "")
