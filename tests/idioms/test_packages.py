"""A site that uses the ecosystem's packages as they are meant to be has no finding, groups as a
reader would draw them, and savings as a stopwatch tells them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.idioms.packages import HERE, IDIOMS, SAVING

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("packages")]

ROOT: Final = Path(__file__).parents[2]
ALONE: Final = {"django-cachalot"}
"""What changes all queries of its process."""

# By idiom: the groups that are state, and those of copies.
GROUPS: Final[dict[str, tuple[set[str], set[str]]]] = {
    "django-rest-framework": ({"throttle_anon_{ip}"}, set()),
    "django-ratelimit": ({"rl:{hash}"}, set()),
    "django-axes": ({"axes-{hash}"}, set()),
    "django-allauth": (
        {
            "allauth:rl:account:login:{int}/{int}/key:{hash}",
            "allauth:rl:account:login:{int}/{int}/key:{hash}:lock",
        },
        set(),
    ),
    "django-waffle": (set(), {"waffle:{int}.{hash}"}),
    "django-constance": (set(), {"THEME", "BANNER", "autofilled"}),
    "django-select2": (set(), {"select2_{uuid}"}),
    "wagtail-cache": (set(), {"page GET (no route)", "keyring"}),
    "sorl-thumbnail": (set(), {"sorl-thumbnail||image||{hash}"}),
    "celery": ({"celery-task-meta-{uuid}", "lock:report"}, set()),
    "django-tenants": (set(), {"menu", "product:{int}"}),
    "django-cachalot": ({"cachalot table {hash}"}, {"cachalot {hash}"}),
    "sessions": (set(), {"session"}),
    "pages": (set(), {"page GET (no route)"}),
    "fragments": (set(), {"fragment sidebar"}),
}


@pytest.fixture(scope="module")
def hours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the report says of each idiom's hour, in processes that have those packages alone."""
    together = [name for name in IDIOMS if name not in ALONE]
    found: dict[str, Any] = {}
    for names in (together, *([name] for name in ALONE)):
        directory = tmp_path_factory.mktemp("entries")
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "tests.idioms.packages", directory, *names],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert "fault of the cache monitor" not in ran.stderr, ran.stderr
        told = map(json.loads, ran.stdout.splitlines())
        found |= {each["idiom"]: each for each in told}
    return found


@pytest.mark.parametrize("name", sorted(IDIOMS))
def test_a_package_used_as_it_is_meant_to_be_has_no_finding(
    name: str, hours: dict[str, Any]
) -> None:
    _skip_unless_installed(name)
    told = hours[name]
    assert told["findings"] == []
    states, copies = GROUPS[name]
    groups = told["groups"]
    assert {group for group, (is_state, _) in groups.items() if is_state} == states
    assert set(groups) == states | copies
    assert all(saved == 0 for is_state, saved in groups.values() if is_state)
    # A cache that nobody does without pays for itself.
    assert told["saved"] is None or told["saved"] >= 0


@pytest.mark.parametrize("name", sorted(SAVING))
def test_it_saves_what_an_hour_without_a_cache_takes_longer(
    name: str, hours: dict[str, Any]
) -> None:
    _skip_unless_installed(name)
    told = hours[name]
    truth = told["without"] - told["worked"] - told["called"]
    assert told["saved"] == pytest.approx(truth, rel=0.05)


def _skip_unless_installed(name: str) -> None:
    if IDIOMS[name][1] not in {"django", *HERE}:
        pytest.skip(f"{name} is not installed here")
