"""What a wheel and a source distribution hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from hatch_build import SKIP_VARIABLE
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


@pytest.mark.parametrize("kind", ["templates", "static", "locale"])
def test_the_wheel_holds_every_template_static_file_and_catalogue_once(
    wheel: Path, kind: str
) -> None:
    packed = [name for name in contents_of_wheel(wheel) if f"/{kind}/" in name]
    assert set(packed) == files_below(ROOT / "cache_monitor" / kind)
    assert packed, f"there are no {kind}"


def test_the_wheel_holds_the_locked_chart_library_with_its_licence(wheel: Path) -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    version = lock["packages"]["node_modules/chart.js"]["version"]
    contents = contents_of_wheel(wheel)
    assert f"Chart.js v{version}".encode() in contents[f"{VENDOR}/chart.umd.min.js"][:200]
    assert b"MIT" in contents[f"{VENDOR}/chart.js.LICENSE.md"]


def test_what_else_lies_among_the_libraries_is_not_packed(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes((ROOT / name).read_bytes())
    vendor = root / VENDOR
    vendor.mkdir(parents=True)
    (root / "cache_monitor" / "__init__.py").touch()
    (vendor / "evil.js").write_text("alert(1)")
    (vendor / "chart.umd.min.js").write_text("fine")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=root,
        check=True,
        capture_output=True,
        env={**os.environ, SKIP_VARIABLE: "1"},
    )
    [wheel] = tmp_path.glob("*.whl")
    packed = [name for name in contents_of_wheel(wheel) if name.startswith(VENDOR)]
    assert packed == [f"{VENDOR}/chart.umd.min.js"]


@pytest.mark.parametrize("plugin", ["chartjs-chart-matrix", "chartjs-chart-treemap"])
def test_the_wheel_holds_the_plugins_with_their_licences(wheel: Path, plugin: str) -> None:
    contents = contents_of_wheel(wheel)
    assert contents[f"{VENDOR}/{plugin}.min.js"]
    assert b"MIT" in contents[f"{VENDOR}/{plugin}.LICENSE.md"]


def test_the_wheel_holds_compiled_catalogues(wheel: Path) -> None:
    contents = contents_of_wheel(wheel)
    for language in ("de", "zh_Hans"):
        assert contents[f"cache_monitor/locale/{language}/LC_MESSAGES/django.mo"]


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


def test_the_source_distribution_holds_the_documentation_that_its_tests_read(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "mkdocs.yml"} <= names
    assert files_below(ROOT / "docs") <= names


def test_an_index_would_take_both_and_show_the_readme(sdist: Path, wheel: Path) -> None:
    argv = [sys.executable, "-m", "twine", "check", "--strict", str(sdist), str(wheel)]
    checked = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_wheel_has_none_of_the_common_faults(wheel: Path) -> None:
    program = Path(sys.executable).parent / "check-wheel-contents"
    checked = subprocess.run(
        [str(program), str(wheel)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
