"""What the source of a test file tells of tests that a run has not found in it."""

from __future__ import annotations

import pytest

from pytest_execprobe.baseline.sources import may_make, may_make_fixture, may_vary

PLAIN = """
import os, sys, unittest, pytest
from unittest import mock

sys.path.insert(0, "src")
pytest.importorskip("tomli")
pytestmark = [pytest.mark.slow]

@pytest.fixture
def place(tmp_path): return tmp_path

@pytest.mark.skipif(True, reason="so")
@mock.patch("a.b")
def test_a(place):
    from here import *
    setattr(place, "x", globals())

class TestB:
    @staticmethod
    def test_c(): type("T", (), {})

class TestD(unittest.TestCase):
    class TestE: pass

if __name__ == "__main__":
    unittest.main()
"""


@pytest.mark.parametrize(
    "names", ["test_b", "TestB::test_d", "TestC::test_d", "TestD::TestE::test", "old (module)", "TestZ*::*", "check_*"]
)
def test_of_a_plain_file_what_it_does_not_name_is_gone(names: str) -> None:
    assert not may_make(PLAIN, names)


@pytest.mark.parametrize(
    "names", ["test_a", "test_a[1]", "TestB::test_c", "place (module)", "*", "TestB::*", "Test*::test_c", "test_*[*]"]
)
def test_what_it_names_may_be_there(names: str) -> None:
    assert may_make(PLAIN, names)


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ("from x import *", "test_b"),
        ("try:\n    from x import *\nexcept ImportError: pass", "test_b"),
        ("globals()['test_' + 'b'] = None", "test_b"),
        ("def make():\n    setattr(sys.modules[__name__], 'test_' + 'b', None)", "test_b"),
        ("TestB.__dict__", "test_b"),
        ("Made = type('Test' + 'C', (), {})", "TestC::test_d"),
        ("scenarios('features')", "test_b"),
        ("for name in 'ab': add(name)", "test_b"),
        ("@parameterized.expand(['a'])\ndef test_n(): pass", "test_n_0_a"),
        ("class TestN:\n    @data(1)\n    def test_n(self): pass", "TestN::test_n_1"),
        ("@parameterized_class('a', [1])\nclass TestN: pass", "TestN_0::test_a"),
        ("from x import TestX", "TestX::test_b"),
        ("TestX = make()", "TestX::test_b"),
        ("class TestX(Base): pass", "TestX::test_b"),
        ("class TestX(x.Base[int]): pass", "TestX::test_b"),
        ("class Mine: pass\nclass TestX(Mine): pass", "TestX::test_b"),
        ("class TestX:\n    class TestY(Base): pass", "TestX::TestY::test_b"),
        ("class TestX(metaclass=Makes):\n    def test_c(self): pass", "TestX::test_b"),
        ("class TestX(unittest.TestCase, cases=2): pass", "TestX::test_b"),
        ("made = register(__name__)", "test_b"),
        ("if sys.argv:\n    made = tests.register(module=__name__)", "test_b"),
        ("made = register(sys.modules[__name__])", "test_b"),
        ("sys._getframe().f_globals['test_' + 'b'] = None", "test_b"),
        ("Made = types.new_class('Test' + 'C')", "TestC::test_d"),
        ("type.__setattr__(TestB, 'test_' + 'd', None)", "TestB::test_d"),
        ("def (", "test_b"),
        ("\0", "test_b"),
    ],
)
def test_what_it_may_make_without_its_name_may_be_there(more: str, names: str) -> None:
    assert may_make(f"{PLAIN}\n{more}\n", names)


@pytest.mark.parametrize(
    "more",
    [
        "log = logging.getLogger(__name__)",
        "app = flask.Flask(__name__)",
        "class TestX(metaclass=abc.ABCMeta): pass",
    ],
)
def test_what_makes_no_tests(more: str) -> None:
    assert not may_make(f"{PLAIN}\n{more}\n", "test_b")
    assert not may_make(f"{PLAIN}\n{more}\n", "TestX::test_b")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("@register\nclass Place: pass", True),
        ("@factory.register(scope='session')\nclass Place: pass", True),
        ("def place_of_a_city(): pass", True),
        ("def (", True),
        ("@contextlib.contextmanager\ndef other(): yield", False),
        ("@dataclass(frozen=True)\nclass Place: pass", False),
    ],
)
def test_fixtures_that_a_file_may_make(more: str, expected: bool) -> None:
    assert may_make_fixture(f"{PLAIN}\n{more}\n", "city") is expected


def marked(mark: str) -> str:
    return f"{PLAIN}\n{mark}\ndef test_n(n): pass\nclass TestN:\n    {mark}\n    def test_n(self, n): pass\n"


@pytest.mark.parametrize("names", ["test_n", "TestN::test_n"])
@pytest.mark.parametrize(
    "mark",
    [
        "@pytest.mark.parametrize('n', [1, -2, 'a', (None, b'c'), {'d': 1.5}])",
        "@pytest.mark.parametrize(('m', 'n'), [pytest.param(1, 2, marks=slow, id='x')], ids=['a'], indirect=THESE)",
        "@pytest.mark.usefixtures('place')",
    ],
)
def test_parameters_that_are_written_out_do_not_vary(mark: str, names: str) -> None:
    assert not may_vary(marked(mark), names)


@pytest.mark.parametrize("names", ["test_n", "TestN::test_n"])
@pytest.mark.parametrize(
    "mark",
    [
        "@pytest.mark.parametrize('n', NUMBERS)",
        "@pytest.mark.parametrize('n', [1, *MORE])",
        "@pytest.mark.parametrize('n', [x for x in (1, 2)])",
        "@pytest.mark.parametrize('n', [os.sep])",
        "@pytest.mark.parametrize('n', [f'{os.sep}'])",
        "@pytest.mark.parametrize('n', [pytest.param(1, id=NAME)])",
        "@pytest.mark.parametrize('n', [1], ids=str)",
        "@pytest.mark.parametrize(*GIVEN)",
        "@pytest.mark.parametrize(**GIVEN)",
        "@both",
        "@cases.parametrize('n', [1])",
    ],
)
def test_other_parameters_may_vary(mark: str, names: str) -> None:
    assert may_vary(marked(mark), names)


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ("@pytest.mark.parametrize('n', NUMBERS)\nclass TestX:\n    def test_n(self, n): pass", "TestX::test_n"),
        ("class TestX:\n    pytestmark = pytest.mark.parametrize('n', MANY)\n    def test_n(): pass", "TestX::test_n"),
        ("pytestmark: list = [pytest.mark.parametrize('n', MANY)]", "test_a"),
        ("pytestmark += [pytest.mark.parametrize('n', MANY)]", "test_a"),
        ("if sys.argv: pytestmark = pytest.mark.parametrize('n', [1])", "test_a"),
        ("pytestmark.append(pytest.mark.parametrize('n', [1]))", "test_a"),
        ("if sys.argv: test_a.pytestmark = [MARK]", "test_a"),
        ("TestB.pytestmark = [MARK]", "TestB::test_c"),
        ("from x import marks as pytestmark", "test_a"),
        ("with_two = pytest.mark.parametrize('n', [1])", "test_a"),
        ("if sys.argv: test_a = MARK(test_a)", "test_a"),
        ("if sys.argv: from x import test_a", "test_a"),
        ("TestB.test_c = MARK(TestB.test_c)", "TestB::test_c"),
        ("MARK(test_a)", "test_a"),
        ("setattr(test_a, 'pytest' + 'mark', [MARK])", "test_a"),
        ("if sys.argv:\n    @pytest.mark.parametrize('n', [1])\n    def test_n(n): pass", "test_n"),
        ("@pytest.mark.parametrize('n', [1])\ndef test_a(n): pass", "test_a"),
        ("try:\n    class TestX:\n        def test_n(self): pass\nexcept OSError: pass", "TestX::test_n"),
        ("class TestX(Base):\n    def test_n(self): pass", "TestX::test_n"),
        ("from x import test_x", "test_x"),
        ("class TestX(Base): pass", "TestX::test_x"),
        ("def (", "test_a"),
    ],
)  # fmt: skip
def test_parameters_from_elsewhere_may_vary(more: str, names: str) -> None:
    assert may_vary(f"{PLAIN}\n{more}\n", names)
