"""The markers of rules, by name. Every pytest run with the plugin imports this module, so it imports nothing."""

from __future__ import annotations

#: The markers: how each is written, and what it means.
MARKERS = {
    "exec_budget": (
        "exec_budget(at_most=None, *, per_program=None, phases=('call',), direct=False)",
        "at most so many execs; per_program={'git': 2} limits programs",
    ),
    "exec_allow": (
        "exec_allow(*patterns, phases=('call',), direct=False)",
        "no program may run but these",
    ),
    "exec_none": (
        "exec_none(*, phases=('setup', 'call', 'teardown'), direct=False)",
        "no program may run",
    ),
    "exec_deny": (
        "exec_deny(*patterns, inherit=True, enforce=False, phases=('setup', 'call', 'teardown'), direct=False)",
        "none of these programs may run; inherit=False drops what wider levels deny, enforce=True kills them first",
    ),
    "exec_success": (
        "exec_success(*patterns, phases=('call',), direct=False)",
        "every program, or each of these, must end with exit status 0 before its phase does",
    ),
    "exec_no_shell": (
        "exec_no_shell(*, allow=(), phases=('setup', 'call', 'teardown'))",
        "the test's own process may ask for no shell (shell=True, os.system), but those that allow matches",
    ),
}
