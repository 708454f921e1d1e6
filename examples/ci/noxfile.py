import nox

PYTHONS = ["3.10", "3.12"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    session.install("-e", ".", "pytest", "pytest-execprobe")
    report = f"build/execs-{session.python}.json"
    session.run("pytest", f"--execprobe-report={report}", *session.posargs)


@nox.session
def gate(session: nox.Session) -> None:
    """All of them against the baseline."""
    session.install("pytest-execprobe")
    reports = [f"build/execs-{python}.json" for python in PYTHONS]
    session.run("execprobe", "gate", *reports, "--budget", "execs.toml")
