"""The prompt on a terminal."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.output import create_output
from prompt_toolkit.output.vt100 import Vt100_Output

from charon import __version__
from charon.cli.shell.completion import ShellCompleter
from charon.cli.shell.history import FileHistory, history_path
from charon.cli.shell.lines import LeaveError
from charon.cli.shell.process import INTERRUPTED
from charon.cli.shell.words import LineError, lines_of, without_prompt
from charon.settings import environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from prompt_toolkit.buffer import Buffer

    from charon.cli.shell.lines import Lines

PROMPT = "charon> "


def interact(lines: Lines) -> int:
    """Ask for lines and run them until the shell is left; return the exit status."""
    click.echo(f"charonctl {__version__}: help lists the commands, exit leaves", err=True)
    history = FileHistory(history_path())
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    completer = ShellCompleter(history.get_strings)
    try:
        return _loop(_reader(history, completer), lines)
    finally:
        completer.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _loop(read: Callable[[], str], lines: Lines) -> int:
    while True:
        try:
            _run(read(), lines)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return 0
        except LeaveError as leave:
            return leave.status or 0


def _run(text: str, lines: Lines) -> None:
    """Run what was typed, or pasted: then it may have several lines."""
    commands = [line for line in lines_of(text) if line.strip()]
    for line in commands:
        if len(commands) > 1:
            _show_again(line)
        try:
            status = lines.run(line)
        except LineError as error:
            click.echo(f"error: {error}", err=True)
            continue
        if lines.interrupted and status == INTERRUPTED:
            return


def _show_again(line: str) -> None:
    """Show a line of what was pasted before its output: the block above it does not tell whose output it is."""
    shown = "".join(char if char.isprintable() else " " for char in without_prompt(line))
    click.echo(f"{PROMPT}{shown}", err=True)


def _reader(history: FileHistory, completer: ShellCompleter) -> Callable[[], str]:
    """Return what asks for a line: with all comfort, or plainly where the terminal cannot move its cursor."""
    if environment.get("TERM", "dumb").lower() in {"", "dumb", "unknown"}:
        return lambda: _read_plainly(history)
    # Where the terminal is, or the screen would be drawn into a file.
    output = create_output(always_prefer_tty=True)
    if isinstance(output, Vt100_Output):
        # Over a slow line, the terminal's answer to where its cursor is would become the next command's input.
        output.enable_cpr = False
    session: PromptSession[str] = PromptSession(
        PROMPT,
        history=history,
        completer=completer,
        complete_while_typing=False,
        complete_in_thread=True,
        output=output,
    )

    def prepare(buffer: Buffer) -> None:
        completer.prepare(buffer.document.text_before_cursor)

    session.default_buffer.on_text_changed += prepare
    return session.prompt


def _read_plainly(history: FileHistory) -> str:
    """Ask for a line with the terminal's own editing."""
    sys.stderr.write(PROMPT)
    sys.stderr.flush()
    raw = sys.stdin.buffer.readline()
    if not raw:
        sys.stderr.write("\n")
        raise EOFError
    line = raw.decode("utf-8", "surrogateescape").rstrip("\n")
    history.append_string(line)
    return line


def _end(number: int, _frame: object) -> None:
    # Raised, so that the terminal gets its modes back on the way out.
    raise SystemExit(128 + number)
