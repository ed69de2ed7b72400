"""Tab completion: candidates within 100 ms, or none."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from prompt_toolkit.completion import Completer, Completion

from charon.cli.registry import COMMANDS
from charon.cli.shell.candidates import Candidate, Candidates
from charon.cli.shell.tokenizer import Word, quote, scan, strip_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

# A lookup that exceeds the first limit continues in the background; its result is available at the next Tab.
LOOKUP_TIMEOUT_S = 0.06
_COMPLETION_LIMIT_S = 0.1
_MAX_CANDIDATES = 500


class ShellCompleter(Completer):
    """Completes lines of the shell.

    Parameters
    ----------
    history
        Returns the lines typed so far, the oldest first.
    """

    def __init__(self, history: Callable[[], Sequence[str]]) -> None:
        self._candidates = Candidates(history)

    def close(self) -> None:
        """Terminate the lookups that are still running."""
        self._candidates.close()

    def prefetch(self, text: str) -> None:
        """Start the lookups for the next word, so that their results are available when Tab is pressed."""
        commands = [name for name in COMMANDS if name.startswith(text)] if text else []
        if len(commands) == 1:
            text = f"{commands[0]} "
        if text.endswith((" ", " -", " --", "/", "=")):
            self._find(text, deadline_s=0.0)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield completions of the word before the cursor."""
        text = document.text_before_cursor
        started_s = time.monotonic()
        word, candidates = self._find(text, deadline_s=started_s + LOOKUP_TIMEOUT_S)
        if time.monotonic() - started_s > _COMPLETION_LIMIT_S:
            return
        for candidate in _matching(candidates, word.value):
            typed = quote(candidate.value, word.open_quote, closed=candidate.final)
            if word.value.startswith("~") and word.plain_start and not word.open_quote:
                typed = "~" + typed[1:].removeprefix("~")
            yield Completion(
                typed + (" " if candidate.final else ""),
                start_position=word.start - len(text),
                display=candidate.display or candidate.value,
                display_meta=candidate.description,
            )

    def _find(self, text: str, deadline_s: float) -> tuple[Word, list[Candidate]]:
        skipped = len(text) - len(strip_prompt(text))
        scanned = scan(text[skipped:])
        words = scanned.words
        word = Word(len(text)) if scanned.ended else words.pop()
        if not scanned.ended:
            word.start += skipped
        preceding = [item.value for item in words]
        if preceding and re.fullmatch(r"(?:.*/)?charonctl", preceding[0]):
            del preceding[0]
        return word, self._candidates.find(preceding, word.value, deadline_s)


def _matching(candidates: list[Candidate], prefix: str) -> Iterator[Candidate]:
    count = 0
    for candidate in candidates:
        if candidate.value.startswith(prefix):
            yield candidate
            count += 1
            if count == _MAX_CANDIDATES:
                return
