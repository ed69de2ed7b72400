"""POSIX word splitting and quoting, without pipes, redirections and expansions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from charon.errors import UsageError

_BLANKS = " \t\r\n"
_OPERATORS = re.compile(r"\|\||&&|>>|<<|[|&;<>]")
_EXPANSION = re.compile(r"\$[A-Za-z0-9_{(]")
_PROMPT = re.compile(r"\s*charon> ?")
_SPECIAL = re.compile(r"""[\s'"\\|&;<>`$#!~*?]""")
"""Characters that need a backslash outside quotes."""


class LineError(UsageError):
    """A line is not a valid command."""


@dataclass(slots=True)
class Word:
    r"""One word of a line.

    Parameters
    ----------
    start
        Index of its first character in the line.
    value
        The word with quotes and escapes resolved.
    open_quote
        The quote that is still open at the end of the line: ``'``, ``"``, ``\`` or an empty string.
    plain_start
        Whether its first character is unquoted.
    """

    start: int
    value: str = ""
    open_quote: str = ""
    plain_start: bool = True


@dataclass(slots=True)
class Scan:
    """Words and syntax errors of a line.

    Parameters
    ----------
    words
        The words in order.
    ended
        Whether a space follows the last word, or the line has no word.
    unsupported
        The first unquoted operator or expansion, an empty string if there is none.
    """

    words: list[Word] = field(default_factory=list[Word])
    ended: bool = True
    unsupported: str = ""


def split(line: str) -> list[str]:
    """Return the words of a line; ``#`` starts a comment, a leading ``~`` is the home folder.

    Raises
    ------
    LineError
        If a quote is not closed, or an unquoted pipe, redirection, list, expansion or ``!`` occurs.
    """
    if "\0" in line:
        raise LineError("the line contains a NUL byte")
    scanned = scan(line)
    first = scanned.words[0] if scanned.words else None
    if first is not None and first.plain_start and first.value.startswith("!"):
        raise LineError("'!' is not supported: use the arrow keys or Ctrl-R for the history")
    if scanned.unsupported:
        raise LineError(_unsupported_message(scanned.unsupported))
    last = scanned.words[-1] if scanned.words else None
    if last is not None and last.open_quote:
        raise LineError(_open_quote_message(last))
    return [_expand_home(word) for word in scanned.words]


def scan(line: str) -> Scan:
    """Return the words of a line, which may be incomplete."""
    result = Scan()
    at = 0
    while at < len(line):
        if result.ended:
            if line[at] in _BLANKS:
                at += 1
                continue
            if line[at] == "#":
                break
            result.words.append(Word(at, plain_start=line[at] not in "'\"\\"))
            result.ended = False
        at = _step(line, at, result)
    return result


def _step(line: str, at: int, result: Scan) -> int:
    """Process the character at an index within the last word; return the next index."""
    word, char = result.words[-1], line[at]
    if word.open_quote == "'":
        if char == "'":
            word.open_quote = ""
        else:
            word.value += char
        return at + 1
    if word.open_quote == '"':
        return _step_double(line, at, result)
    if char in _BLANKS:
        result.ended = True
    elif char in "'\"":
        word.open_quote = char
    elif char == "\\":
        return _step_escape(line, at, word)
    else:
        operator = _OPERATORS.match(line, at)
        result.unsupported = result.unsupported or (operator[0] if operator else _expansion(line, at))
        word.value += char
    return at + 1


def _step_double(line: str, at: int, result: Scan) -> int:
    word, char = result.words[-1], line[at]
    if char == '"':
        word.open_quote = ""
    elif char == "\\" and at + 1 < len(line) and line[at + 1] in '"\\$`':
        word.value += line[at + 1]
        return at + 2
    else:
        result.unsupported = result.unsupported or _expansion(line, at)
        word.value += char
    return at + 1


def _step_escape(line: str, at: int, word: Word) -> int:
    if at + 1 == len(line):
        word.open_quote = "\\"
    else:
        word.value += line[at + 1]
    return at + 2


def _expansion(line: str, at: int) -> str:
    if line[at] == "`":
        return "`"
    match = _EXPANSION.match(line, at)
    return match[0][:2] if match else ""


def _unsupported_message(syntax: str) -> str:
    if syntax.startswith(("$", "`")):
        return f"{syntax!r} is not supported: variables and commands are not expanded; single-quote literal text"
    construct = "pipes" if syntax == "|" else "redirections" if syntax[0] in "<>" else "lists of commands"
    return f"{syntax!r} is not supported: use the system shell (charonctl COMMAND ...) for {construct}, or quote it"


def _open_quote_message(word: Word) -> str:
    if word.open_quote == "\\":
        return "the line ends with a backslash"
    return f"missing closing quote {word.open_quote}"


def _expand_home(word: Word) -> str:
    if word.plain_start and word.value.startswith("~"):
        name, slash, rest = word.value.partition("/")
        try:
            return str(Path(name).expanduser()) + slash + rest
        except RuntimeError:  # unknown user
            return word.value
    return word.value


def quote(value: str, open_quote: str = "", *, closed: bool = True) -> str:
    """Return a word with the quotes and escapes that `split` resolves.

    Parameters
    ----------
    value
        The word.
    open_quote
        The quote that the word starts with, if any.
    closed
        Whether the word is complete; if not, its quote stays open.
    """
    if open_quote == "'" and "'" not in value:
        return f"'{value}" + ("'" if closed else "")
    if open_quote == '"':
        return '"' + re.sub(r'(["\\$`])', r"\\\1", value) + ('"' if closed else "")
    return _SPECIAL.sub(lambda match: "\\" + match[0], value)


def join_lines(text: str) -> list[str]:
    """Return the commands of a text; a backslash at the end of a line continues it on the next."""
    commands: list[str] = []
    pending = ""
    for line in text.split("\n"):
        if is_continued(pending + line):
            pending += line[:-1]
        else:
            commands.append(pending + line)
            pending = ""
    return [*commands, pending] if pending else commands


def is_continued(line: str) -> bool:
    """Return whether a line ends with an unquoted backslash."""
    if not line.endswith("\\"):
        return False
    words = scan(line).words
    return bool(words) and words[-1].open_quote == "\\"


def strip_prompt(line: str) -> str:
    """Return a line without a prompt that was pasted with it."""
    return _PROMPT.sub("", line, count=1) if _PROMPT.match(line) else line
