"""What a wheel and a source distribution hold."""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from tests.packaging.sites import ROOT

VENDOR = "cache_monitor/static/cache_monitor/vendor"


def contents_of_wheel(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert max(Counter(names).values()) == 1
        return {name: archive.read(name) for name in names}


def files_below(directory: Path) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in directory.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.mark.parametrize("kind", ["templates", "static"])
def test_the_wheel_holds_every_template_and_static_file_once(wheel: Path, kind: str) -> None:
    packed = [name for name in contents_of_wheel(wheel) if f"/{kind}/" in name]
    assert set(packed) == files_below(ROOT / "cache_monitor" / kind)
    assert packed, f"there are no {kind}"


def test_the_wheel_holds_the_locked_chart_library_with_its_licence(wheel: Path) -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    version = lock["packages"]["node_modules/chart.js"]["version"]
    contents = contents_of_wheel(wheel)
    assert f"Chart.js v{version}".encode() in contents[f"{VENDOR}/chart.umd.min.js"][:200]
    assert b"MIT" in contents[f"{VENDOR}/chart.js.LICENSE.md"]


def test_no_static_file_names_a_source_map_that_is_not_there(wheel: Path) -> None:
    contents = contents_of_wheel(wheel)
    scripts = [name for name in contents if name.endswith(".js")]
    assert [name for name in scripts if b"sourceMappingURL" in contents[name]] == []


def test_the_wheel_tells_type_checkers_that_it_is_typed(wheel: Path) -> None:
    assert "cache_monitor/py.typed" in contents_of_wheel(wheel)


def test_the_wheel_holds_the_package_and_its_metadata_and_nothing_else(wheel: Path) -> None:
    tops = {PurePosixPath(name).parts[0] for name in contents_of_wheel(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"cache_monitor"}


def test_a_checkout_and_a_source_distribution_give_the_same_wheel(
    wheel: Path, wheel_from_checkout: Path
) -> None:
    assert contents_of_wheel(wheel) == contents_of_wheel(wheel_from_checkout)


def test_the_source_distribution_holds_real_files_in_place_of_links(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert all(member.isfile() for member in members)
    names = {member.name.partition("/")[2] for member in members}
    assert f"{VENDOR}/chart.umd.min.js" in names
    assert {"tests/conftest.py", "demo_site/manage.py", "LICENSE"} <= names
