"""Locate Ansible's programs and read its YAML files."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import yaml

from charon.adapters.yaml_errors import YAML_ERRORS, describe_yaml_error
from charon.errors import UnavailableError, UsageError


def find_tool(name: str) -> Path:
    """Return the path of one of Ansible's programs: next to this Python interpreter, else on the PATH.

    Raises
    ------
    UnavailableError
        If the program is not installed.
    """
    sibling = Path(sys.executable).parent / name
    if sibling.is_file():
        return sibling
    path = shutil.which(name)
    if path is None:
        raise UnavailableError(f"{name} is not installed; install ansible-core with pip or your package manager")
    return Path(path)


def read_yaml(path: Path) -> object:
    """Return the content of a YAML file.

    Raises
    ------
    UsageError
        If the file cannot be read or is not valid YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not valid YAML (not UTF-8 text)") from error
    except YAML_ERRORS as error:
        raise UsageError(f"{path}: not valid YAML: {describe_yaml_error(error)}") from error
