"""What was executed, as far as that is the same each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from .._util.paths import program_name
from .._util.redaction import Redaction, in_force


class Argument(str):
    """One that has a secret in it: the truth, but for its ``repr()``, by which pytest shows what was compared."""

    __slots__ = ("shown",)
    shown: str

    @classmethod
    def of(cls, word: str, shown: str) -> str:
        """The word itself where it is shown as it is."""
        if word == shown:
            return word
        made = cls(word)
        made.shown = shown
        return made

    def __repr__(self) -> str:
        return repr(self.shown)

    def __reduce__(self) -> tuple[Callable[[str, str], str], tuple[str, str]]:
        return Argument.of, (str(self), self.shown)


@dataclass(slots=True)
class Command:
    """The part of an exec that others can share: a suite executes few commands, and those often.

    See :class:`pytest_execprobe.ExecRecord` for what the fields mean. One that was made by :meth:`deferred` reads them
    when the first is looked at.
    """

    path: str | None = None
    executable: str | None = None
    argv: tuple[str, ...] | None = None
    argv_truncated: bool = False
    comm: str = ""
    cwd: str | None = None
    interpreter: str | None = None
    script: str | None = None
    #: Of a script the resolved files of scripts that stand between it and its interpreter; None where unknown.
    nested: tuple[str | None, ...] | None = ()
    #: Where in argv the program's own arguments begin; None where unknown.
    arguments_at: int | None = 1
    #: Whether the file has another user's rights to give, and has not given them because the process was traced.
    lost_privilege: bool = False
    #: Whether secrets in argv are hidden, as they are in what is read of a report.
    redacted: bool = False
    #: What it is called.
    program: str | None = field(init=False, compare=False, repr=False)
    _raw: bytes | None = field(default=None, init=False, compare=False, repr=False)
    _read: Callable[[Command, bytes], None] = field(init=False, compare=False, repr=False)
    #: Of what was read of a report, which of its run's files are packages', as far as that is known.
    owned: Mapping[str, bool | None] | None = field(init=False, compare=False, repr=False)
    #: By which rules secrets were hidden, and the command without them, None where it has none.
    _shown: tuple[Redaction, Command | None] = field(init=False, compare=False, repr=False)

    @classmethod
    def deferred(cls, raw: bytes, read: Callable[[Command, bytes], None]) -> Command:
        """``read`` sets the fields from ``raw``, but for the program's name."""
        made = cls.__new__(cls)
        made._raw, made._read = raw, read
        return made

    def may_contain(self, text: str) -> bool:
        """Whether something in it, as the kernel had it, has this text. For a soon answer: no is certain."""
        return self._raw is None or text.encode() in self._raw

    def __getattr__(self, name: str) -> object:
        # What has no value yet comes here, and never again.
        if name == "program":
            self.program = program_name(self.path, self.executable, self.cwd)
        elif name == "owned":
            self.owned = None
        elif name.startswith("_") or self._raw is None:
            raise AttributeError(name)
        else:
            self._read(self, self._raw)
        return object.__getattribute__(self, name)

    @property
    def shown(self) -> Command:
        """What every text and report shows of it: without its secrets, by the rules in force."""
        rules = in_force()
        known = getattr(self, "_shown", None)
        if known is None or known[0] is not rules:
            known = self._shown = rules, self._without_secrets(rules)
        return self if known[1] is None else known[1]

    @property
    def guarded(self) -> tuple[str, ...] | None:
        """What tests read: argv, whose secrets ``repr()`` doesn't show."""
        shown = self.shown
        if self.argv is None or shown.argv is None or shown is self:
            return self.argv
        return tuple(map(Argument.of, self.argv, shown.argv))

    def _without_secrets(self, rules: Redaction) -> Command | None:
        argv = self.argv and rules.arguments(self.argv, self.program, cut=self.argv_truncated)
        if argv is self.argv:
            return None
        made = replace(self, argv=argv, redacted=True)
        made.program, made.owned = self.program, self.owned
        return made

    @property
    def file(self) -> str | None:
        """What the user has executed, resolved: of a script that, and not its interpreter."""
        return self.executable if self.interpreter is None else self.script

    @property
    def arguments(self) -> tuple[str, ...] | None:
        """See :attr:`pytest_execprobe.ExecRecord.arguments`."""
        return None if self.argv is None or self.arguments_at is None else self.argv[self.arguments_at :]
