"""The versions that are supported, and every check over those that are installed: ``nox``.

What follows ``--`` goes to pytest: ``nox -- tests/keys``, or ``make test-all PYTEST_ARGS=...``.
"""

import os
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False

# Django 6.0 and 6.1 need Python 3.12.
PAIRS = [
    ("3.11", "5.2"),
    ("3.12", "5.2"),
    ("3.12", "6.0"),
    ("3.12", "6.1"),
    ("3.13", "5.2"),
    ("3.13", "6.0"),
    ("3.13", "6.1"),
]
NEWEST = PAIRS[-1]
TOOLBARS = ["6", "7", "8"]

# With pyenv, a python3.12 on PATH may only say which versions there are: look behind it first.
_PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
_BEHIND = sorted(str(path) for path in _PYENV.glob("3.*/bin"))
os.environ["PATH"] = os.pathsep.join([*_BEHIND, os.environ.get("PATH", "")])


def _install(session: nox.Session, group: str, *requirements: str) -> None:
    """The package and a group of what its development needs."""
    # The one that comes with a Python may be too old to know groups.
    session.install("--upgrade", "pip>=25.1")
    session.install("--editable", ".", "--group", group, *requirements)


@nox.session
@nox.parametrize(("python", "django"), PAIRS)
def tests(session: nox.Session, django: str) -> None:
    """Every test on one Python and one Django; on the newest also what is enough to run once."""
    _install(session, "test", f"Django~={django}.0")
    is_newest = (session.python, django) == NEWEST
    chosen = [] if is_newest else ["-m", "not once"]
    session.run("python", "-m", "pytest", *chosen, *session.posargs)


@nox.session(python=NEWEST[0])
@nox.parametrize("toolbar", TOOLBARS)
def panel(session: nox.Session, toolbar: str) -> None:
    """The panel in each debug toolbar, with the oldest Django, which all of them know."""
    oldest = PAIRS[0][1]
    _install(session, "test", f"Django~={oldest}.0", f"django-debug-toolbar~={toolbar}.0")
    session.run("python", "-m", "pytest", "tests/panel", *session.posargs)


@nox.session(python=NEWEST[0])
def lint(session: nox.Session) -> None:
    """Style and types."""
    _install(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")


@nox.session(python=NEWEST[0])
def docs(session: nox.Session) -> None:
    """The documentation, of which no warning is let pass."""
    _install(session, "docs")
    session.run("mkdocs", "build")
