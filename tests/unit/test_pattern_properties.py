"""Patterns, whatever is written and whatever is known: an answer stands, whatever was missing turns out to be.

The core is ``partly_known``: a record, and the same with something hidden that could not be read, or was lost. A
pattern that says yes or no of a part must say the same of the whole, and so of everything that the part can be.
"""

from __future__ import annotations

import itertools
import posixpath
import re
import shlex
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import Any

import pytest
from fakes import altered, record, script
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pytest_execprobe import ANY, ExecRecord, subtree
from pytest_execprobe._util.ternary import either
from pytest_execprobe.log.pattern import Pattern, Side
from pytest_execprobe.log.patterns import compile_pattern

fast = settings(deadline=None, max_examples=100)
SIDES = tuple(Side)

#: A few programs and words, so that patterns meet records often; the last is half of a character.
PROGRAMS = ("git", "sh", "git-x", "a b", "[x]")
WORDS = ("push", "pus", "-f", "", "grün", "a'b", "\udcc3")
FOLDERS = ("/usr/bin", "/opt", "/")

programs = st.sampled_from(PROGRAMS)
words = st.sampled_from(WORDS)
argvs = st.lists(words, max_size=3)


def path_of(folder: str, program: str) -> str:
    return f"{folder.rstrip('/')}/{program}"


paths = st.builds(path_of, st.sampled_from(FOLDERS), programs)


# ---- any string ----

any_text = st.one_of(
    st.text(max_size=20),
    st.builds("".join, st.lists(st.sampled_from([*"re:argvsubt*?[]!/\\'\" .~,`()|+^$", "subtree:", "argv:", "re:"]))),
)


@fast
@given(
    st.one_of(any_text, st.lists(st.one_of(any_text, st.just(ANY), st.integers())), st.binary(max_size=3), st.none())
)
@example("[")
@example("re:(?i")
@example("subtree:subtree:re:(")
@example("argv:''")
@example("argv:'' x")
@example("\udcff")
@example("/\0")
def test_what_is_no_pattern_is_a_value_error_or_a_type_error(written: Any) -> None:
    try:
        pattern = compile_pattern(written)
    except (ValueError, TypeError):
        return
    assert isinstance(pattern, Pattern)
    assert compile_pattern(pattern) is pattern
    subjects = [record("git", "push"), record(None, executable=None, argv=None), script("x"), record("", "")]
    for subject in subjects:
        for side in SIDES:
            assert pattern.match(subject, side) in (True, False, None)


# ---- all that can be asked ----

globs = st.sampled_from(["git", "g*", "*", "?it", "[gs]*", "sh", "[[]x]", "git-x", "*x*"])
path_globs = st.one_of(
    paths, st.sampled_from(["/usr/*", "/opt/*", "*/git", "/*", "./git", "*/*it", "bin/sh", "/opt/[gs]*"])
)
regexes = st.sampled_from(
    ["push", "git push", "^/usr/bin/git", "pu", r"pus\b", "push$", "-f|pus", "(?!x)git", "git(?= )", "a'", "ü", r"\Z",
     "git.*f", "(p).*\\1", "(?<!x)pus", "''"]
    + (["(?>git.*f|git) p", "(?:git.*f|git)++ p", "pu(?:s.*f|s)++h"] if sys.version_info >= (3, 11) else [])
)  # fmt: skip
lists = st.builds(
    lambda first, rest: [first, *rest],
    st.one_of(globs, path_globs, st.just(ANY)),
    st.lists(st.one_of(words, st.just(ANY)), max_size=3),
)
flat = st.one_of(globs, path_globs, regexes.map(lambda text: f"re:{text}"), lists)
patterns = st.one_of(flat, flat.map(subtree)).map(compile_pattern)


@st.composite
def whole_records(draw: st.DrawFn, depth: int = 1) -> ExecRecord:
    """Records of which everything is known: programs, links to others, scripts, and what is above them."""
    program = draw(programs)
    path = path_of(draw(st.sampled_from(FOLDERS)), program)
    executable = draw(st.one_of(st.just(path), paths))
    arguments = draw(argvs)
    parent = draw(st.none() | whole_records(depth=depth - 1)) if depth else None
    previous = draw(st.none() | whole_records(depth=0)) if depth else None
    above: dict[str, Any] = {"parent": parent, "previous": previous}
    if draw(st.integers(0, 3)):
        written = draw(st.sampled_from([path, path, f"./{program}"]))
        return record(program, *arguments, path=written, executable=executable, cwd="/opt", **above)
    written = draw(st.sampled_from([path, program, f"sub/{program}", f"../opt/{program}"]))
    shebang = draw(st.sampled_from([("/bin/sh",), ("/bin/sh", "-f")]))
    return record(
        program, path=written, executable="/usr/bin/dash", interpreter=shebang[0], cwd="/opt", script=draw(paths),
        nested=tuple(draw(st.lists(paths, max_size=1))), argv=(*shebang, written, *arguments),
        arguments_at=len(shebang) + 1, **above,
    )  # fmt: skip


def hide(draw: st.DrawFn, whole: ExecRecord) -> ExecRecord:
    """The same, with something that could not be read, or was lost."""
    what = draw(
        st.sets(
            st.sampled_from(["name", "executable", "script", "nested", "argv", "cut", "cwd", "parent", "previous"]),
            min_size=1,
        )
    )
    known: dict[str, Any] = {}
    if "name" in what:
        known |= {"program": None, "path": None}
        if whole.interpreter is not None:
            known["_arguments_at"] = None  # the script's path says it
    if "executable" in what:
        known["executable"] = None
    if "script" in what:
        known["script"] = None
    if "nested" in what and whole.interpreter is not None:
        known["_nested"] = None
    if "cwd" in what:
        known["cwd"] = None
    if "argv" in what:
        known["argv"] = None
    elif "cut" in what:
        known |= {"argv_truncated": True, "argv": draw(cut_argv(whole))}
    if "parent" in what:
        known |= {"parent": None, "lost": True}
    if "previous" in what:
        known |= {"previous": None, "lost": True}
    return altered(whole, **known)


@st.composite
def cut_argv(draw: st.DrawFn, whole: ExecRecord) -> tuple[str, ...]:
    """argv as bytes, cut anywhere after what every record has, as the kernel side cuts it."""
    assert whole.argv is not None
    arguments = whole.arguments or ()
    fixed = whole.argv[: len(whole.argv) - len(arguments)]
    raw = b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in arguments)
    kept = raw[: draw(st.integers(0, len(raw)))]
    if not kept:
        return fixed
    left = (kept[:-1] if kept.endswith(b"\0") else kept).split(b"\0")
    return (*fixed, *(word.decode("utf-8", "surrogateescape") for word in left))


@st.composite
def partly_known(draw: st.DrawFn) -> tuple[ExecRecord, ExecRecord]:
    """What is known, and what it is in truth: so the truth is one of the completions."""
    whole = draw(whole_records())
    known = hide(draw, whole)
    if whole.parent is not None and known.parent is not None and draw(st.booleans()):
        known = altered(known, parent=hide(draw, whole.parent))
    return known, whole


def test_argument_that_was_cut_anywhere() -> None:
    """Every word, cut everywhere, and every word that a pattern may ask for."""
    for word, asked, more in itertools.product(WORDS, WORDS, ((), ("-f",))):
        raw = word.encode("utf-8", "surrogateescape")
        pattern = compile_pattern(["git", asked])
        for kept in range(len(raw) + 1):
            cut = record("git", raw[:kept].decode("utf-8", "surrogateescape"), truncated=True)
            said = pattern.match(cut)
            assert said is None or said is pattern.match(record("git", word, *more)), (cut, word)


@settings(deadline=None, max_examples=400)
@given(partly_known(), patterns, st.sampled_from(SIDES))
def test_what_is_said_of_a_part_is_so_of_the_whole(
    pair: tuple[ExecRecord, ExecRecord], pattern: Pattern, side: Side
) -> None:
    known, whole = pair
    said = pattern.match(known, side)
    assert said is None or pattern.match(whole, side) is said


def may_be_linked(whole: ExecRecord, text: str) -> bool:
    """The files are not there: where a pattern's path has the last name of one that leads to another file, a link may
    have led there from it."""
    return "/" in text and any(
        path is not None and path not in (one.executable, one.script) and path.rpartition("/")[2] in text
        for one in above(whole)
        for path in (one.path, one.interpreter)
    )


@fast
@given(whole_records(), patterns, st.sampled_from(SIDES))
def test_of_a_whole_record_everything_is_said(whole: ExecRecord, pattern: Pattern, side: Side) -> None:
    assert pattern.match(whole, side) is not None or (side is not Side.ALLOW and may_be_linked(whole, pattern.text))


def completions(known: ExecRecord) -> Iterator[ExecRecord]:
    """Some of what a record can be that lacks just one thing: enough to show that it could be decided, if known."""
    if known.program is None:
        for program in PROGRAMS:
            yield altered(known, program=program, path=f"/usr/bin/{program}")
    elif known.argv is None:
        for rest in ((), *((word,) for word in WORDS), ("push", "-f")):
            yield altered(known, argv=(known.program, *rest))
    elif known.argv_truncated:
        for end in ("", "h", "x"):
            for rest in ((), *((word,) for word in WORDS)):
                last = (known.argv[-1] + end,) if known.argv else ()
                yield altered(known, argv=(*known.argv[:-1], *last, *rest), argv_truncated=False)
    elif known._lineage.lost:
        for above in (None, *(record(program) for program in PROGRAMS)):
            yield altered(known, parent=above, lost=False)


# "*" is every name there is, and yet not said of an unread one: that is more cautious than it would have to be.
_less = globs.filter(lambda glob: glob != "*")
telling = st.one_of(_less, lists.filter(lambda written: written[0] != "*"), _less.map(subtree))


@fast
@given(whole_records(depth=0), st.sampled_from(["name", "argv", "lineage"]), telling)
def test_what_is_not_said_could_be_either(whole: ExecRecord, missing: str, written: Any) -> None:
    """No answer is held back without a reason: some completion of a record matches, and some does not."""
    assume(whole.interpreter is None and not (isinstance(written, list) and "/" in str(written[0])))
    hidden: dict[str, dict[str, Any]] = {
        "name": {"program": None, "path": None},
        "argv": {"argv": None},
        "lineage": {"parent": None, "lost": True},
    }
    known = altered(whole, **hidden[missing])
    pattern = compile_pattern(written)
    if pattern.match(known) is None:
        assert {pattern.match(whole) for whole in completions(known)} >= {True, False} or isinstance(written, list)


# ---- the sides ----


@fast
@given(whole_records(), flat.map(compile_pattern))
def test_what_is_allowed_is_found_too(whole: ExecRecord, pattern: Pattern) -> None:
    """To allow asks no less than to find, and to find no less than to forbid."""
    allowed, found, forbidden = (pattern.match(whole, side) for side in (Side.ALLOW, Side.FIND, Side.FORBID))
    assert allowed is not True or found is True
    assert found is not True or forbidden is True


@fast
@given(whole_records(depth=0))
def test_what_must_not_run_is_caught_under_every_name_it_has(whole: ExecRecord) -> None:
    for path in (whole.path, whole.executable, whole.interpreter, whole.script, *(whole._command.nested or ())):
        if path is not None:
            name = path.rpartition("/")[2]
            for pattern in (escape(path), escape(name), [escape(name)], re.compile(re.escape(shlex.quote(path)))):
                try:
                    compiled = compile_pattern(pattern)
                except ValueError:  # a name that can be written in a list alone
                    continue
                assert compiled.match(whole, Side.FORBID) is True, pattern


def is_glob_of(name: str, glob: str) -> bool:
    return name == glob or fnmatchcase(name, glob)


@fast
@given(whole_records(), path_globs)
def test_path_is_a_glob_over_path_or_executable(whole: ExecRecord, glob: str) -> None:
    assume(whole.interpreter is None and whole.path is not None and whole.executable is not None)
    # From where the process is, too.
    globs = [glob] if glob[0] in "/*" else [glob, posixpath.normpath(f"{whole.cwd}/{glob}")]
    by_executable = any(is_glob_of(whole.executable, one) for one in globs)
    paths = (whole.path, re.sub(r"^\.", "/opt", whole.path))
    by_path = any(is_glob_of(path, one) for path in paths for one in globs)
    found = compile_pattern(glob).match(whole)
    assert found is (by_path or by_executable) or (found is None and may_be_linked(whole, glob))
    assert compile_pattern(glob).match(whole, Side.ALLOW) is by_executable


@fast
@given(st.text("gitsh-x[]!*?.", min_size=1, max_size=6), st.text("gitsh-x[]!*?.", min_size=1, max_size=6))
def test_name_is_what_fnmatch_says(program: str, glob: str) -> None:
    assert compile_pattern([glob]).match(record(program)) is is_glob_of(program, glob)
    assert compile_pattern(glob).match(record(program)) is is_glob_of(program, glob)


# ---- lists and strings ----


@fast
@given(whole_records(), lists)
def test_list_and_argv_form_agree(whole: ExecRecord, written: list[Any]) -> None:
    if written[0] is ANY:
        written = ["*", *written[1:]]
    assume("*" not in written[1:])  # an argument that is a star can be written in a list alone
    text = "argv:" + " ".join("*" if word is ANY else shlex.quote(word) for word in written)
    for side in SIDES:
        said = compile_pattern(written).match(whole, side)
        assert compile_pattern(text).match(whole, side) is said
        assert compile_pattern(tuple(written)).match(whole, side) is said
        assert compile_pattern(compile_pattern(written).text).match(whole, side) is said


@fast
@given(whole_records(), lists)
def test_list_is_its_program_and_the_next_arguments(whole: ExecRecord, written: list[Any]) -> None:
    first, *rest = written
    given_arguments = list(whole.arguments or ())
    fits = len(rest) <= len(given_arguments) and all(
        word is ANY or word == given_arguments[place] for place, word in enumerate(rest)
    )
    by_program = True if first is ANY else compile_pattern(first).match(whole)
    assert compile_pattern(written).match(whole) is (by_program if fits else False)


@fast
@given(whole_records(), regexes)
def test_regex_and_re_form_agree(whole: ExecRecord, regex: str) -> None:
    line = " ".join(shlex.quote(word) for word in (whole.path or "", *(whole.arguments or ())))
    expected = re.search(regex, line) is not None
    assert compile_pattern(f"re:{regex}").match(whole) is compile_pattern(re.compile(regex)).match(whole) is expected


# ---- subtrees ----


def above(subject: ExecRecord) -> Iterator[ExecRecord]:
    yield subject
    for ancestor in (subject.parent, subject._lineage.previous):
        if ancestor is not None:
            yield from above(ancestor)


@fast
@given(whole_records(depth=2), flat, st.sampled_from(SIDES), st.booleans())
def test_subtree_is_a_match_of_the_record_or_of_one_above_it(
    whole: ExecRecord, written: Any, side: Side, lost: bool
) -> None:
    subject = altered(whole, lost=lost)
    inner = compile_pattern(written)
    expected = either(*(inner.match(one, side) for one in above(subject)), *([None] if lost else []))
    assert compile_pattern(subtree(written)).match(subject, side) is expected
    if isinstance(written, str):
        assert compile_pattern(f"subtree:{written}").match(subject, side) is expected


# ---- what these have found ----


def test_argument_that_was_cut_in_the_middle_of_a_character_may_be_any_that_begins_so() -> None:
    cut = record("git", "gr\udcc3", truncated=True)
    assert compile_pattern(["git", "grün"]).match(cut) is None
    assert compile_pattern(["git", "grob"]).match(cut) is None  # more cautious than it would have to be
    assert compile_pattern(["git", "blau"]).match(cut) is False


@pytest.mark.skipif(sys.version_info < (3, 11), reason="this Python's regular expressions take nothing back for good")
@pytest.mark.may_skip
@pytest.mark.parametrize("regex", ["(?>git.*f|git) p", "(?:git.*f|git)++ p"])
def test_regex_that_takes_nothing_back_is_undecided_where_argv_was_cut(regex: str) -> None:
    assert compile_pattern(f"re:{regex}").match(record("git", "push", "x", truncated=True)) is None
    assert compile_pattern(f"re:{regex}").match(record("git", "push", "x", "f")) is False


def test_script_of_an_unknown_folder_may_be_what_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real.sh").touch()
    (tmp_path / "link").symlink_to("real.sh")
    for file, matches in ((str(tmp_path.resolve() / "real.sh"), True), ("/opt/real.sh", False), (None, None)):
        for side in SIDES:
            assert compile_pattern(str(tmp_path / "link")).match(script(path="real.sh", file=file), side) is matches


def test_arguments_of_a_script_whose_path_was_not_read_are_not_known() -> None:
    known = script("v1")
    unread = altered(known, path=None, program=None, _arguments_at=None)
    assert compile_pattern([ANY, "v1"]).match(known) is True
    assert compile_pattern([ANY, "v1"]).match(unread) is None
    assert compile_pattern([ANY, "-e"]).match(unread) is None
