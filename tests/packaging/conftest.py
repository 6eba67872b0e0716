"""Distributions of the checkout, built once, and sites of somebody else that install them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.packaging.sites import ROOT, Site, create_site
from tests.packaging.start import started
from tests.workers import made_once

BUILT: Final = {"sdist", "wheel", "wheel_from_checkout", "site", "started_site"}
HERE: Final = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before xdist looks for the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # pytest hands over those of other directories too.
    for item in items:
        if item.path.parent == HERE and BUILT & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")
            if not item.get_closest_marker("xdist_group"):
                item.add_marker(pytest.mark.xdist_group("distributions"))


def build(target: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "build", "--outdir", str(target), *arguments, str(ROOT)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def only_file(directory: Path, pattern: str) -> Path:
    (path,) = directory.glob(pattern)
    return path


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution, and a wheel that was built from it rather than from the checkout."""
    return made_once(tmp_path_factory, "distributions", build)


@pytest.fixture(scope="session")
def sdist(distributions: Path) -> Path:
    return only_file(distributions, "*.tar.gz")


@pytest.fixture(scope="session")
def wheel(distributions: Path) -> Path:
    return only_file(distributions, "*.whl")


@pytest.fixture(scope="session")
def wheel_from_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel-from-checkout")
    build(target, "--wheel")
    return only_file(target, "*.whl")


@pytest.fixture(scope="session")
def started_site(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Site]:
    """A Django project that has the app from the wheel, as the README says, being served."""
    with started(tmp_path_factory.mktemp("start"), wheel) as site:
        yield site


@pytest.fixture(scope="session")
def editable_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A new one that has the app from the checkout."""
    created = create_site(tmp_path_factory.mktemp("site"), ["--editable", str(ROOT)])
    with created.served():
        yield created


@pytest.fixture(params=["started_site", "editable_site"], ids=["wheel", "editable"])
def site(request: pytest.FixtureRequest) -> Site:
    site: Site = request.getfixturevalue(request.param)
    return site
