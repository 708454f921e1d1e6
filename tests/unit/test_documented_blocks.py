"""What the documentation shows: configuration is read by what reads it, commands by their parsers, excerpts are true.

Python and what takes a probe is run in tests/kernel/test_documented_runs.py.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex

import jsonschema
import pytest
from blocks import ROOT, Block, blocks, each

from pytest_execprobe import cli
from pytest_execprobe.baseline.read import read_baseline

#: Run here or in tests/kernel; what a program prints, and diagrams; and Sphinx's directives, run by `make docs`.
_RUN, _SHOWN, _DIRECTIVE = {"python", "ini", "toml", "json", "sh", "console"}, {"text"}, re.compile(r"\{[\w-]+\}")
#: Commands that stand beside ours, and programs that only format what those print.
_OTHERS = {"echo", "jq", "pip", "head"}


@each(blocks())
def test_a_block_is_run_or_says_why_not(block: Block) -> None:
    runs = block.language in _RUN | _SHOWN or _DIRECTIVE.fullmatch(block.language)
    assert runs or block.not_run or block.excerpt_of, f"{block}: name its language, or say why it is not run"


@each([block for block in blocks() if block.excerpt_of])
def test_an_excerpt_stands_in_its_file(block: Block) -> None:
    text = (ROOT / str(block.excerpt_of)).read_text()
    assert [line for line in block.text.splitlines() if line not in text.splitlines()] == []


@each(blocks("ini"))
def test_configuration_is_accepted(pytester: pytest.Pytester, block: Block) -> None:
    pytester.makeini(block.text)
    pytester.makepyfile("def test(): ...")
    result = pytester.runpytest_inprocess("--execprobe=off", "--strict-config")
    result.assert_outcomes(passed=1)


@each(blocks("toml"))
def test_a_baseline_is_read(pytester: pytest.Pytester, block: Block) -> None:
    path = pytester.path / "execs.toml"
    path.write_text(block.text if "version = " in block.text else f"version = 1\n{block.text}")
    assert read_baseline(path).sections


@each(blocks("json"))
def test_json_is_valid(block: Block) -> None:
    data = json.loads(block.text)
    if "format" in data:
        schema = json.loads((ROOT / "pytest_execprobe/report/schema.json").read_text())
        jsonschema.validate(data, schema)


@each(blocks("sh", "console"))
def test_a_command_is_accepted(pytester: pytest.Pytester, block: Block) -> None:
    assert block.commands
    (pytester.path / "execs.toml").write_text("version = 1\n\n[tests]\n")
    for line in block.commands:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for operator, words in itertools.groupby(lexer, lambda word: set(word) <= set("|&;<>()")):
            command = list(words)[line.startswith("sudo ") :]
            # What is written to a file has stood behind a command.
            if not operator and command[0][0] not in "$.":
                _accept(pytester, command)


def _accept(pytester: pytest.Pytester, words: list[str]) -> None:
    program, *arguments = words
    if program == "execprobe":
        cli._parser(arguments).parse_args(arguments)
    elif "pytest" in (program, *arguments[:2]):
        arguments = arguments if program == "pytest" else arguments[arguments.index("pytest") + 1 :]
        pytester.parseconfig(*(one for one in arguments if one.startswith("--execprobe")))
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {one for one in arguments if "=" not in one} <= set(targets)
    elif program.endswith("python") or program == "python":
        assert arguments[0] == "-m" or (ROOT / arguments[0]).exists()
    else:
        assert program in _OTHERS or (ROOT / program).exists(), f"what is {program}?"
