"""A password is read from the pipe once; the pipe is deleted with its context, read or not."""

from __future__ import annotations

from charon.adapters.ansible.password_pipe import password_pipe


def test_password_is_read_from_pipe():
    with password_pipe("sesame") as pipe:
        assert pipe.stat().st_mode & 0o777 == 0o600
        assert pipe.read_text() == "sesame\n"
    assert not pipe.parent.exists()


def test_unread_pipe_is_deleted():
    with password_pipe("sesame") as pipe:
        assert pipe.is_fifo()
    assert not pipe.parent.exists()
