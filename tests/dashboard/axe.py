"""axe-core, which finds what people with disabilities cannot use on a page."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Final

from playwright.sync_api import Page

from tests.services import Program

ROOT: Final = Path(__file__).parents[2]
SCRIPT: Final = Path("node_modules", "axe-core", "axe.min.js")
NPM: Final = Program("npm", ("npm",), "npm")
NPM_FILES: Final = ("package.json", "package-lock.json", ".npmrc")
KNOWN: Final = {"expression": "Boolean(window.axe)", "returnByValue": True}
RUN: Final = """axe.run({resultTypes: ["violations"], selectors: false}).then(
    found => JSON.stringify(found.violations.map(
        each => [each.id, ...each.nodes.map(node => `${node.html}: ${node.failureSummary}`)]
    ))
)"""
"""Of what passes it need not tell where it stands, which it takes long to say."""


def fetch(npm: str, directory: Path) -> str:
    """The script at the version that package-lock.json pins."""
    if (ROOT / SCRIPT).is_file():
        return (ROOT / SCRIPT).read_text("utf-8")
    for name in NPM_FILES:
        shutil.copy(ROOT / name, directory)
    arguments = [npm, "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"]
    subprocess.run(arguments, cwd=directory, check=True, capture_output=True)
    return (directory / SCRIPT).read_text("utf-8")


def violations(page: Page, script: str) -> list[list[str]]:
    """What axe finds on the page: a rule and the elements that break it, each.

    Through the debugger, because the page's policy forbids to evaluate anything in it.
    """
    session = page.context.new_cdp_session(page)
    if not session.send("Runtime.evaluate", KNOWN)["result"]["value"]:
        session.send("Runtime.evaluate", {"expression": script})
    answer = session.send(
        "Runtime.evaluate", {"expression": RUN, "awaitPromise": True, "returnByValue": True}
    )
    session.detach()
    found: list[list[str]] = json.loads(answer["result"]["value"])
    return found
