"""A line is split as /bin/sh splits it; what the shell cannot do is said, and never taken for an argument."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charon.cli.shell.words import LineError, goes_on, lines_of, quoted, scan, split, without_prompt

PLAIN = st.text(st.sampled_from("ab/.=:- {}[]()'\"\\\t#,é"), max_size=14)


def by_sh(line):
    """Return the words that a real shell makes of a line, None where it finds fault."""
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
def test_a_line_is_split_as_by_the_shell_of_the_system(line):
    expected = by_sh(line)
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
def test_words(line, words):
    assert split(line) == words


def test_a_tilde_is_the_home_folder_only_where_it_begins_a_word(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert split(r"~/a ~ '~/a' \~/a b~ ~nobody-is-called-so/x") == [
        "/home/me/a",
        "/home/me",
        "~/a",
        "~/a",
        "b~",
        "~nobody-is-called-so/x",
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
def test_what_cannot_be_is_said_in_one_line(line, words):
    with pytest.raises(LineError) as told:
        split(line)
    assert words in str(told.value)
    assert len(str(told.value).splitlines()) == 1


def test_an_unclosed_quote_is_said_before_what_is_not_reached():
    with pytest.raises(LineError, match="not closed"):
        split("metrics --query 'a > b")


@given(
    st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"]), min_size=1),
    st.sampled_from(["", "'", '"']),
)
def test_what_is_quoted_comes_through_as_it_is(value, quote):
    typed = quoted(value, quote)
    assert split(f"x {typed}") == ["x", value]


@given(st.text(st.sampled_from("ab '\"\\|>$#~")), st.sampled_from(["", "'", '"']))
def test_what_is_quoted_and_goes_on_is_one_word(value, quote):
    found = scan("x " + quoted(value + "c", quote, ended=False))
    assert [word.value for word in found.words] == ["x", value + "c"]
    assert not found.ended
    assert found.words[-1].quote in {quote, ""}


@given(PLAIN)
def test_shlex_agrees_on_what_quotes_mean(line):
    if "#" in line or "é" in line or "$" in line:
        return
    try:
        expected = shlex.split(line)
    except ValueError:
        with pytest.raises(LineError):
            split(line)
        return
    assert split(line) == expected


def test_lines_of_a_text():
    assert lines_of("a \\\n b\n\n# c \\\nd 'e\\'\nf") == ["a  b", "", "# c \\", "d 'e\\'", "f"]
    assert not goes_on(r"a \\")
    assert goes_on("a \\")


def test_a_prompt_that_was_copied_too_is_taken_off():
    assert without_prompt("charon> kubectl get pod") == "kubectl get pod"
    assert without_prompt("  charon> status") == "status"
    assert without_prompt("charonctl status") == "charonctl status"
