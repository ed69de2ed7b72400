"""Tests of the description of YAML errors."""

from __future__ import annotations

import pytest
import yaml

from charon.adapters.yaml_errors import YAML_ERRORS, describe_yaml_error


def test_syntax_error_has_its_position() -> None:
    with pytest.raises(YAML_ERRORS) as error:
        yaml.safe_load("a: 1\nb: [\n")
    assert describe_yaml_error(error.value).startswith("line 3, column 1: expected ")


@pytest.mark.parametrize("text", ["- 2025-13-45", "!!int x", "[" * 5000, "a: \x01"])
def test_error_is_one_line(text: str) -> None:
    with pytest.raises(YAML_ERRORS) as error:
        yaml.safe_load(text)
    assert "\n" not in describe_yaml_error(error.value)
