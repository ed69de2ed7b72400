"""What Tab offers: an answer within 100 ms, or none."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from prompt_toolkit.completion import Completer, Completion

from charon.cli.registry import COMMANDS
from charon.cli.shell.candidates import Candidate, Candidates
from charon.cli.shell.words import Word, quoted, scan, without_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

# So long it waits for what is asked in the background; what comes later is there at the next Tab.
PATIENCE_S = 0.06
LIMIT_S = 0.1
_SHOWN = 500


class ShellCompleter(Completer):
    """Completes lines of the shell.

    Parameters
    ----------
    history
        Returns the lines that were typed before, the oldest first.
    """

    def __init__(self, history: Callable[[], Sequence[str]]) -> None:
        self._candidates = Candidates(history)

    def close(self) -> None:
        """End what still runs in the background."""
        self._candidates.close()

    def prepare(self, text: str) -> None:
        """Begin asking what the next word may be, so that it is known when Tab is pressed."""
        commands = [name for name in COMMANDS if name.startswith(text)] if text else []
        if len(commands) == 1:
            text = f"{commands[0]} "
        if text.endswith((" ", " -", " --", "/", "=")):
            self._find(text, until=0.0)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what the word before the cursor may become."""
        text = document.text_before_cursor
        asked = time.monotonic()
        word, found = self._find(text, until=asked + PATIENCE_S)
        if time.monotonic() - asked > LIMIT_S:
            return
        for candidate in _fitting(found, word.value):
            typed = quoted(candidate.value, word.quote, ended=candidate.whole)
            if word.value.startswith("~") and word.plain and not word.quote:
                typed = "~" + typed[1:].removeprefix("~")
            yield Completion(
                typed + (" " if candidate.whole else ""),
                start_position=word.start - len(text),
                display=candidate.shown or candidate.value,
                display_meta=candidate.about,
            )

    def _find(self, text: str, until: float) -> tuple[Word, list[Candidate]]:
        skipped = len(text) - len(without_prompt(text))
        scanned = scan(text[skipped:])
        words = scanned.words
        word = Word(len(text)) if scanned.ended else words.pop()
        if not scanned.ended:
            word.start += skipped
        before = [each.value for each in words]
        if before and re.fullmatch(r"(?:.*/)?charonctl", before[0]):
            del before[0]
        return word, self._candidates.find(before, word.value, until)


def _fitting(found: list[Candidate], begun: str) -> Iterator[Candidate]:
    count = 0
    for candidate in found:
        if candidate.value.startswith(begun):
            yield candidate
            count += 1
            if count == _SHOWN:
                return
