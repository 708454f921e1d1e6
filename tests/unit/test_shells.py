"""Shells that a test has asked for, and how to do without."""

from __future__ import annotations

import json
import subprocess

import pytest
from fakes import evidence, log_of, record, script
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_execprobe import ExecRecord, IncompleteLogError
from pytest_execprobe.log.patterns import compile_pattern
from pytest_execprobe.log.shells import NeedsShell, how_to_do_without, no_shell, words_of

SHELL = record("sh", "-c", "git tag v1")


@pytest.mark.parametrize(
    ("subject", "holds"),
    [
        (SHELL, False),
        (record("bash", "-lc", "make"), False),
        (record("bash", "-euo", "pipefail", "-c", "make"), False),
        (record("bash", "--norc", "--rcfile", "x", "-c", "make"), False),
        (record("zsh", "+x", "-c", "make"), False),
        (record("sh", "+c", "make"), False),  # bash, dash and ash run it all the same
        (record("dash", "+ec", "make"), False),
        # With one dash bash takes its long options, too, whose letters are none.
        (record("bash", "-login", "-c", "make"), False),
        (record("bash", "-noprofile", "-norc", "-c", "make"), False),
        (record("bash", "-init-file", "x", "-c", "make"), False),
        (record("sh", "-posix", "-c", "make", executable="/bin/bash"), False),
        (record("bash", "--debug", "-c", "make"), False),
        (record("fish", "--debug", "-c", "release.fish"), True),
        (record("bash", "-norc", "release.sh"), True),
        (record("bash", "-rcfile", "x", "release.sh"), True),
        # The value of a letter may be the rest of its word.
        (record("zsh", "-oshwordsplit", "-c", "make"), False),
        (record("ksh", "-oerrexit", "-c", "make"), False),
        (record("zsh", "-o", "errexit", "-c", "make"), False),
        (record("zsh", "-onoclobber", "release.sh"), True),
        (record("zsh", "--emulate", "sh", "-c", "make"), False),
        (record("fish", "-C", "set x", "-c", "make"), False),
        (record("fish", "--init-command", "set x", "-c", "make"), False),
        (record("fish", "-p", "x", "release.fish"), True),
        (record("fish", "-Cecho", "release.fish"), True),
        (record("sh", "-c"), False),  # it complains, but it is one
        (record("busybox", "sh", "-c", "ls"), False),
        (record("sh", "-c", "ls", executable="/bin/busybox"), False),
        (
            record("busybox", "-c", "ls", path="/proc/self/exe", executable="/bin/busybox", argv=("sh", "-c", "ls")),
            False,
        ),
        (record("my-shell", "-c", "ls", executable="/bin/bash"), False),  # a link
        (record("busybox", "hush", "-c", "ls"), False),
        (record("busybox.static", "sh", "-c", "ls", executable="/bin/busybox.static"), False),
        (record("static-sh", "-c", "ls", executable="/usr/bin/busybox"), False),
        (record("bash-static", "-c", "ls"), False),
        (record("bash5", "-c", "ls"), False),
        (record("zsh-5.9", "-fc", "ls"), False),
        (record("ksh93u+m", "-c", "ls"), False),
        (record("fish", "--no-config", "--command=ls"), False),
        (record("fish", "--command", "ls"), False),
        (record("xonsh", "--no-rc", "-c", "ls"), False),
        (record("fish", "release.fish", "--command"), True),
        (record("7z", "-c", "x"), True),
        (record("sh"), True),
        (record("sh", "-i"), True),
        (record("sh", "release.sh", "-c"), True),
        (record("sh", "-e", "--", "-c"), True),
        (record("bash", "-o", "c"), True),
        (record("git", "-c", "user.name=x", "tag"), True),
        (record("ls", "-c", executable="/bin/busybox"), True),
        (record("busybox", "wget", "-c", "x"), True),
        (script("-c"), True),  # a script of a shell's is what was asked for
        (script("-c", "ls", path="/opt/bin/sh"), False),  # and one that stands for the shell is a shell
        (record("env", "sh", "-c", "ls"), True),
        (record("sh", "-c", "ls", previous=record("env", "sh", "-c", "ls")), True),
        (record("sh", "-c", "ls", parent=record("make")), True),
        (record("sh", "-c", "ls", direct=False), True),  # a fork of the test's process did
        (record("sh", argv=None), None),
        (record("sh", "-e", truncated=True), None),
        (record("git", argv=None), True),
        (record("x", "-c", "ls", executable=None), None),
        (record("x", "ls", executable=None), True),
        (record(None, "-c", "ls", executable=None), None),
        (record("sh", "-c", "ls", lineage_lost=True), None),  # it may have been another's
        (record("git", lineage_lost=True), True),
    ],
)
def test_what_is_a_shell_that_was_asked_for(subject: ExecRecord, holds: bool | None) -> None:
    assert no_shell(evidence(record("git"), subject)).holds is holds


def test_what_is_missing_may_be_one() -> None:
    assert no_shell(evidence(lost=1)).holds is None
    assert no_shell(evidence(unknown="the helper was lost")).holds is None
    assert no_shell(evidence(SHELL, lost=1)).holds is False


@pytest.mark.parametrize(("allowed", "holds"), [("argv:sh -c 'git tag v1'", True), ("bash", False), ("re:tag", True)])
def test_some_may_be_asked_for(allowed: str, holds: bool) -> None:
    assert no_shell(evidence(SHELL), [compile_pattern(allowed)]).holds is holds


@pytest.mark.parametrize(
    ("subject", "allowed"),
    [
        (record("sh", "-c", "x", path="/opt/tools/sh", executable="/usr/bin/dash"), "/opt/tools/*"),
        (record("dash", path="/proc/self/fd/5", executable="/usr/bin/dash", argv=("make", "-c", "x")), "make"),
    ],
    ids=["link", "argv0"],
)
def test_what_may_be_asked_for_goes_by_what_was_loaded(subject: ExecRecord, allowed: str) -> None:
    assert no_shell(evidence(subject), [compile_pattern(allowed)]).holds is False
    assert no_shell(evidence(subject), [compile_pattern("/usr/bin/dash")]).holds is True


def test_command_behind_an_equals_sign_is_known() -> None:
    assert how_to_do_without(record("fish", "--command=ls | wc")) == "ls | wc"


def test_failure_says_how_to_do_without() -> None:
    with pytest.raises(AssertionError) as caught:
        log_of(record("git"), SHELL).assert_no_shell()
    lines = str(caught.value).splitlines()
    assert lines[:2] == [
        "no shell must be asked for, but one was: git tag v1",
        '  hint  #2 without a shell: subprocess.run(["git", "tag", "v1"])',
    ]
    assert lines[4].startswith("> 2")


@pytest.mark.parametrize(
    "command", ["mysql --password=hunter2 x", "mysql --password=hunter2 x | cat", "curl -u a:hunter2 x"]
)
def test_secrets_are_hidden(command: str) -> None:
    shell = record("sh", "-c", command)
    said = [no_shell(evidence(shell)).headline, how_to_do_without(shell)]
    assert all("•••" in text and "hunter2" not in text for text in said)


def test_undecided_failure_says_why() -> None:
    with pytest.raises(IncompleteLogError, match="cannot tell whether a shell was asked for"):
        log_of(record("sh", argv=None)).assert_no_shell()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("a | b", "a pipe"),
        ("a || b", "||"),
        ("a && b", "&&"),
        ("a &", "a job in the background (&)"),
        ("a; b", "several commands"),
        ("a\nb", "several commands"),
        ("a > b", "a redirection"),
        ("rm *.o", "a pattern of file names"),
        ("a $HOME", "a variable ($HOME)"),
        ('a "${HOME}"', "a variable ($HOME)"),
        ("a $(b)", "the output of a command"),
        ('a "`b`"', "the output of a command"),
        ("a ~/b", "a home folder (~)"),
        ("a # b", "a comment"),
        ("a {b,c}", "braces"),
        ("A=1 b", "an assignment in front (A=), which env= is for"),
        ("if a; then b; fi", "several commands"),
        ("! a", "a word of the shell's language (!)"),
        ("cd a", "a builtin of shells (cd)"),
        ("echo -n a", "a builtin of shells (echo)"),
        ("echo 'a\\tb'", "a builtin of shells (echo)"),
        ("kill %1", "a builtin of shells (kill)"),
        ("ls a[bc]", "a pattern of file names"),
        ("a 'b", "a quote that is not closed"),
        ('a "b', "a quote that is not closed"),
        ("a b\\", "a backslash at its end"),
        ("", "no program"),
    ],
)
def test_what_needs_a_shell_is_said(command: str, said: str) -> None:
    assert how_to_do_without(record("sh", "-c", command)).startswith(f"it has {said}: ")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("true a", ["true", "a"]),
        ("echo hello 'you there'", ["echo", "hello", "you there"]),
        ("[ -e x ]", ["[", "-e", "x", "]"]),
        ("test -e x", ["test", "-e", "x"]),
    ],
)
def test_builtins_that_are_programs_alike_do_without(command: str, words: list[str]) -> None:
    assert how_to_do_without(record("sh", "-c", command)) == f"without a shell: subprocess.run({json.dumps(words)})"


def test_other_languages_are_left_alone() -> None:
    assert how_to_do_without(record("fish", "-c", "git tag v1")) == "git tag v1"


def test_no_control_character_gets_out() -> None:
    assert how_to_do_without(record("sh", "-c", "git tag '\x1b[31m\udcff'")).isprintable()


@pytest.mark.exec_budget(1000)
@settings(deadline=None, max_examples=150)
@given(st.text(alphabet="ab \"'\\$`|;&<>(){},.*?[]~#=!\n\té-", max_size=12))
@example("a\\\nb 'c\\d' \"e\\f\\\\\"")
@example('"" \'\' a"b"c')
@example("{} {a} a{1}b x=1 \\ ")
def test_list_is_what_the_shell_would_make_of_it(rest: str) -> None:
    """Held against a shell: printf writes its own arguments."""
    try:
        words = words_of(f"/usr/bin/printf '%s\\n\\n' {rest}")
    except NeedsShell:
        return
    made = subprocess.run(["/bin/sh", "-c", f"/usr/bin/printf '%s\\n\\n' {rest}"], capture_output=True, check=True)
    wanted = "".join(f"{word}\n\n" for word in words[2:] or [""])
    assert made.stdout.decode() == wanted
