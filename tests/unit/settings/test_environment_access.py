"""One module accesses the environment variables; defaults never override what the user has set."""

from __future__ import annotations

from pathlib import Path

import pytest

from charon.errors import UnavailableError
from charon.settings import environment, epics, paths

SOURCE = Path(environment.__file__).parents[1]
# Ansible loads its callback plugin outside Charon's packages.
ALLOWED = {"settings/environment.py", "adapters/ansible/callback/charon_events.py"}


def test_only_one_module_accesses_environ():
    users = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if any(access in path.read_text() for access in ("os.environ", "os.getenv", "os.putenv", "envvar="))
    }
    assert users == ALLOWED


def test_epics_defaults_keep_user_values(monkeypatch):
    for name in ("EPICS_PVA_ADDR_LIST", "EPICS_PVAS_INTF_ADDR_LIST", "EPICS_PVA_AUTO_ADDR_LIST"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("EPICS_PVA_ADDR_LIST", "10.0.0.1")
    epics.set_loopback_only()
    assert environment.get("EPICS_PVA_ADDR_LIST") == "10.0.0.1"
    assert environment.get("EPICS_PVAS_INTF_ADDR_LIST") == "127.0.0.1"
    assert environment.get("EPICS_PVA_AUTO_ADDR_LIST") == "NO"


def test_state_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert paths.runs_folder() == tmp_path / "charon" / "runs"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.state_folder() == tmp_path / ".local" / "state" / "charon"


def test_missing_home_is_one_line(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(UnavailableError, match="XDG_STATE_HOME"):
        paths.state_folder()
