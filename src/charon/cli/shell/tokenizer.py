"""Splits a line into words as a POSIX shell does, without its pipes, redirections and expansions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

_BLANKS = " \t\r\n"
_OPERATORS = re.compile(r"\|\||&&|>>|<<|[|&;<>]")
_EXPANSION = re.compile(r"\$[A-Za-z0-9_{(]")
_PROMPT = re.compile(r"\s*charon> ?")
# What has to be quoted to come through as it is.
_SPECIAL = re.compile(r"""[\s'"\\|&;<>`$#!~*?]""")


# Not one of charon.errors: they bring NumPy, which the prompt should not wait for.
class LineError(ValueError):
    """A line is no command: one line that says why, and what to do."""


@dataclass(slots=True)
class Word:
    r"""One word of a line.

    Parameters
    ----------
    start
        Where it begins in the line.
    value
        What it means, without its quotes.
    quote
        The quote that is open where the line ends: ``'``, ``"``, ``\`` or nothing.
    plain
        Whether its first character was typed without quotes.
    """

    start: int
    value: str = ""
    quote: str = ""
    plain: bool = True


@dataclass(slots=True)
class Scan:
    """What was found in a line.

    Parameters
    ----------
    words
        Its words in order; where the line ends in a blank, the last one does not go on.
    ended
        Whether the last word has ended.
    refused
        The first operator or expansion that was typed without quotes.
    """

    words: list[Word] = field(default_factory=list[Word])
    ended: bool = True
    refused: str = ""


def split(line: str) -> list[str]:
    """Return the words of a line; ``#`` begins a comment, and ``~`` at the start of a word is the home folder.

    Raises
    ------
    LineError
        If a quote is not closed, or a pipe, redirection, list, expansion or ``!`` is typed without quotes.
    """
    if "\0" in line:
        raise LineError("the line holds a NUL byte, which no argument can")
    found = scan(line)
    first = found.words[0] if found.words else None
    if first is not None and first.plain and first.value.startswith("!"):
        raise LineError("'!' is not supported: the history is reached with the arrow keys and Ctrl-R")
    if found.refused:
        raise LineError(_why_refused(found.refused))
    last = found.words[-1] if found.words else None
    if last is not None and last.quote:
        raise LineError(_why_open(last))
    return [_with_home(word) for word in found.words]


def scan(line: str) -> Scan:
    """Return what is in a line, ended or not."""
    found = Scan()
    at = 0
    while at < len(line):
        if found.ended:
            if line[at] in _BLANKS:
                at += 1
                continue
            if line[at] == "#":
                break
            found.words.append(Word(at, plain=line[at] not in "'\"\\"))
            found.ended = False
        at = _step(line, at, found)
    return found


def _step(line: str, at: int, found: Scan) -> int:
    """Take what stands at a place of a word into it; return the next place."""
    word, char = found.words[-1], line[at]
    if word.quote == "'":
        if char == "'":
            word.quote = ""
        else:
            word.value += char
        return at + 1
    if word.quote == '"':
        return _step_double(line, at, found)
    if char in _BLANKS:
        found.ended = True
    elif char in "'\"":
        word.quote = char
    elif char == "\\":
        return _step_escape(line, at, word)
    else:
        operator = _OPERATORS.match(line, at)
        found.refused = found.refused or (operator[0] if operator else _expansion(line, at))
        word.value += char
    return at + 1


def _step_double(line: str, at: int, found: Scan) -> int:
    word, char = found.words[-1], line[at]
    if char == '"':
        word.quote = ""
    elif char == "\\" and at + 1 < len(line) and line[at + 1] in '"\\$`':
        word.value += line[at + 1]
        return at + 2
    else:
        found.refused = found.refused or _expansion(line, at)
        word.value += char
    return at + 1


def _step_escape(line: str, at: int, word: Word) -> int:
    if at + 1 == len(line):
        word.quote = "\\"
    else:
        word.value += line[at + 1]
    return at + 2


def _expansion(line: str, at: int) -> str:
    if line[at] == "`":
        return "`"
    found = _EXPANSION.match(line, at)
    return found[0][:2] if found else ""


def _why_refused(typed: str) -> str:
    if typed.startswith(("$", "`")):
        return f"{typed!r} is not supported: nothing is expanded here; put it in single quotes to keep it as it is"
    what = "a pipe" if typed == "|" else "a redirection" if typed[0] in "<>" else "a list of commands"
    return (
        f"{typed!r} is not supported: {what} is for the system shell (charonctl COMMAND ...); "
        "quote it where it belongs to an argument"
    )


def _why_open(word: Word) -> str:
    if word.quote == "\\":
        return "the line ends in a backslash, with nothing after it"
    return f"the quote {word.quote} is not closed"


def _with_home(word: Word) -> str:
    if word.plain and word.value.startswith("~"):
        name, slash, rest = word.value.partition("/")
        try:
            return str(Path(name).expanduser()) + slash + rest
        except RuntimeError:  # nobody is called so
            return word.value
    return word.value


def quoted(value: str, quote: str = "", *, ended: bool = True) -> str:
    """Return a word as it is to be typed.

    Parameters
    ----------
    value
        What it means.
    quote
        The quote that was begun with, if any.
    ended
        Whether nothing more belongs to it: only then a quote is closed.
    """
    if quote == "'" and "'" not in value:
        return f"'{value}" + ("'" if ended else "")
    if quote == '"':
        return '"' + re.sub(r'(["\\$`])', r"\\\1", value) + ('"' if ended else "")
    return _SPECIAL.sub(lambda found: "\\" + found[0], value)


def lines_of(text: str) -> list[str]:
    """Return the commands in a text of several lines: a backslash at the end of a line joins it to the next."""
    whole: list[str] = []
    begun = ""
    for line in text.split("\n"):
        if goes_on(begun + line):
            begun += line[:-1]
        else:
            whole.append(begun + line)
            begun = ""
    return [*whole, begun] if begun else whole


def goes_on(line: str) -> bool:
    """Return whether a line ends in a backslash that is not quoted itself."""
    if not line.endswith("\\"):
        return False
    words = scan(line).words
    return bool(words) and words[-1].quote == "\\"


def without_prompt(line: str) -> str:
    """Return a line without the prompt that was copied with it."""
    return _PROMPT.sub("", line, count=1) if _PROMPT.match(line) else line
