"""Lines are split as /bin/sh splits them; unsupported syntax is an error, never an argument."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charon.cli.shell.tokenizer import LineError, is_continued, join_lines, quote, scan, split, strip_prompt

PLAIN = st.text(st.sampled_from("ab/.=:- {}[]()'\"\\\t#,é"), max_size=14)


def split_by_sh(line):
    """Return the words into which a real shell splits a line, None for a syntax error."""
    done = subprocess.run(
        ["/bin/sh", "-fc", f'show() {{ for w; do printf "%s\\0" "$w"; done; }}\nshow {line}'],
        capture_output=True,
        check=False,
        timeout=10,
    )
    if done.returncode or done.stderr:
        return None
    return [word.decode() for word in done.stdout.split(b"\0")[:-1]]


@settings(max_examples=150)
@given(PLAIN.filter(lambda text: not set("()") & set(text) and not text.endswith("\\")))
def test_split_agrees_with_sh(line):
    expected = split_by_sh(line)
    if expected is None:
        with pytest.raises(LineError):
            split(line)
    else:
        assert split(line) == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run a.yaml", ["run", "a.yaml"]),
        ("  run\ta.yaml  # the live one", ["run", "a.yaml"]),
        ("# a comment", []),
        ("", []),
        (r"a\ b 'c d' \"e", ["a b", "c d", '"e']),
        ("'' \"\"", ["", ""]),
        (r'"a\b \$x \" \`"', [r'a\b $x " `']),
        (r"'a\b $x `y`'", [r"a\b $x `y`"]),
        ("metrics --query 'rate(x[5m]) > 3 | y'", ["metrics", "--query", "rate(x[5m]) > 3 | y"]),
        ("a#b http://x/#y", ["a#b", "http://x/#y"]),
        ("--query up{job=x} sum(up)", ["--query", "up{job=x}", "sum(up)"]),
        ("jsonpath={$.items}", ["jsonpath={$.items}"]),
        ('"up$"', ["up$"]),
        ("caf\udce9", ["caf\udce9"]),
        ("run a.yaml\r", ["run", "a.yaml"]),
    ],
)
def test_line_is_split_into_words(line, words):
    assert split(line) == words


def test_leading_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert split(r"~/a ~ '~/a' \~/a b~ ~no-such-user/x") == [
        "/home/me/a",
        "/home/me",
        "~/a",
        "~/a",
        "b~",
        "~no-such-user/x",
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run 'a", "'"),
        ('run "a', '"'),
        ("run a\\", "backslash"),
        ("status | cat", "'|'"),
        ("status > x", "'>'"),
        ("status >> x", "'>>'"),
        ("status < x", "'<'"),
        ("status && stop x", "'&&'"),
        ("status & ", "'&'"),
        ("status; stop x", "';'"),
        ("run $HOME/x", "'$H'"),
        ("run ${HOME}", "'${'"),
        ('run "$(date)"', "'$('"),
        ("run `date`", "'`'"),
        ("!ls", "'!'"),
        ("a\0b", "NUL"),
    ],
)
def test_unsupported_syntax_is_a_one_line_error(line, words):
    with pytest.raises(LineError) as caught:
        split(line)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_open_quote_hides_later_operators():
    with pytest.raises(LineError, match="missing closing quote"):
        split("metrics --query 'a > b")


@given(
    st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"]), min_size=1),
    st.sampled_from(["", "'", '"']),
)
def test_quote_round_trips_through_split(value, open_quote):
    typed = quote(value, open_quote)
    assert split(f"x {typed}") == ["x", value]


@given(st.text(st.sampled_from("ab '\"\\|>$#~")), st.sampled_from(["", "'", '"']))
def test_open_quote_is_one_incomplete_word(value, open_quote):
    scanned = scan("x " + quote(value + "c", open_quote, closed=False))
    assert [word.value for word in scanned.words] == ["x", value + "c"]
    assert not scanned.ended
    assert scanned.words[-1].open_quote in {open_quote, ""}


@given(PLAIN)
def test_split_agrees_with_shlex(line):
    if "#" in line or "é" in line or "$" in line:
        return
    try:
        expected = shlex.split(line)
    except ValueError:
        with pytest.raises(LineError):
            split(line)
        return
    assert split(line) == expected


def test_backslash_joins_lines():
    assert join_lines("a \\\n b\n\n# c \\\nd 'e\\'\nf") == ["a  b", "", "# c \\", "d 'e\\'", "f"]
    assert not is_continued(r"a \\")
    assert is_continued("a \\")


def test_pasted_prompt_is_removed():
    assert strip_prompt("charon> kubectl get pod") == "kubectl get pod"
    assert strip_prompt("  charon> status") == "status"
    assert strip_prompt("charonctl status") == "charonctl status"
