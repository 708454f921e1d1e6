"""--import-mode=importlib: rules say where they stand, whatever a module is called and wherever it came from."""

from __future__ import annotations

from pathlib import Path

import pytest
from inner import Inner

FILES = {
    "one/test_same.py": """
import subprocess, pytest

pytestmark = pytest.mark.exec_deny("uname")

def test():
    subprocess.run(["uname"])
""",
    "two/test_same.py": """
import subprocess, pytest

class TestClass:
    pytestmark = [pytest.mark.exec_budget(1)]

    def test_breaks(self, before):
        subprocess.run(["uname"])
        subprocess.run(["uname"])

    def test_keeps(self, before):
        subprocess.run(["uname"])
""",
    "two/conftest.py": """
import subprocess, pytest

@pytest.fixture
def before():
    subprocess.run(["true"])

@pytest.hookimpl(optionalhook=True)
def pytest_execprobe_record(record, item):
    return record.program != "true"
""",
    "three/test_attempts.py": """
import subprocess, pytest

def test_attempts(execprobe):
    with pytest.raises(FileNotFoundError):
        subprocess.run(["/no/such/program"])
    assert [attempt.error for attempt in execprobe.attempts] == ["ENOENT"]
""",
}


@pytest.fixture
def files(inner: Inner) -> None:
    for name, text in FILES.items():
        file = inner.path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)


@pytest.mark.usefixtures("files")
def test_outcomes_stay(inner: Inner) -> None:
    run = inner.as_without(
        "--import-mode=importlib", "--execprobe-audit", "--execprobe-ignore=/usr/bin/uname", "two", "one"
    )
    assert run.ret == 0


@pytest.mark.bpf  # it reads attempts
@pytest.mark.usefixtures("files")
def test_rules(inner: Inner) -> None:
    run = inner.run("--import-mode=importlib")
    assert run.outcomes == {
        "test": ["failed"],
        "TestClass::test_breaks": ["failed"],
        "TestClass::test_keeps": ["passed"],
        "test_attempts": ["passed"],
    }
    assert f"on the module, {Path('one/test_same.py')}:4" in run.text("test")
    assert "on TestClass, two/test_same.py:5" in run.text("TestClass::test_breaks")


@pytest.mark.usefixtures("files")
def test_what_is_unknown_is_an_error(inner: Inner) -> None:
    (inner.path / "one" / "test_same.py").write_text(
        "import pytest\nfrom lose import lose_helper\n"
        "@pytest.mark.xfail\n@pytest.mark.exec_none(phases=['call'])\n"
        "def test(request): lose_helper(request.config)\n"
    )
    run = inner.run("--import-mode=importlib", "one")
    assert run.outcomes["test"] == ["error"]
