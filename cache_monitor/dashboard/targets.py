"""What an action of the dashboard deletes: an entry, a group's entries, stale ones, everything."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from django.conf import settings
from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cache_monitor.dashboard import formats
from cache_monitor.dashboard.livesheets import STALE_REASONS, stale_words
from cache_monitor.dashboard.query import BadParameterError, as_shown
from cache_monitor.inspectors.entries import Selection
from cache_monitor.inspectors.snapshot import StaleReason
from cache_monitor.keys.naming import name_key

WHY: tuple[StaleReason | Literal["any"], ...] = ("any", *STALE_REASONS)


@dataclass(frozen=True, slots=True)
class Action:
    """One action. ``name`` is that of its URL, ``parameter`` names its target besides the cache,
    ``back`` the page that it comes back to."""

    name: str
    permission: str
    title: str | Promise
    question: str | Promise
    """What is asked before; names the cache by ``alias``."""
    parameter: str
    back: str
    words: Callable[[str], str]
    """What is deleted, for a sentence, from the parameter's value; nothing for all of a cache."""


@dataclass(frozen=True, slots=True)
class Target:
    """What one use of an action deletes."""

    action: Action
    alias: str
    value: str

    @property
    def selection(self) -> Selection:
        """The entries that it takes."""
        parameter, value = self.action.parameter, self.value
        return Selection(
            group=value if parameter == "group" else None,
            key=value if parameter == "key" else None,
            why=next((why for why in WHY if parameter == "why" and why == value), None),
        )

    @property
    def words(self) -> str:
        """What it deletes, for people."""
        return self.action.words(self.value)

    @property
    def question(self) -> str:
        """What is asked before it deletes."""
        return str(self.action.question) % {"alias": self.alias}

    @property
    def parameters(self) -> Mapping[str, str]:
        """It as parameters of a URL or a form."""
        named = {"alias": self.alias, self.action.parameter: self.value}
        return {name: text for name, text in named.items() if name}


def target_of(action: Action, data: QueryDict) -> Target:
    """The target that a URL or a form names, or BadParameterError."""
    alias = data.get("alias", "")
    if alias not in settings.CACHES:
        message = _("There is no such cache. Write one of: %(names)s.")
        raise BadParameterError("alias", message % {"names": ", ".join(settings.CACHES)})
    value = data.get(action.parameter, "") if action.parameter else ""
    if action.parameter and not value:
        raise BadParameterError(action.parameter, _("It is missing."))
    if action.parameter == "why" and value not in WHY:
        names = ", ".join(WHY)
        raise BadParameterError("why", _("Write one of: %(names)s.") % {"names": names})
    if action.parameter == "key":
        if name_key(value).kind == "session":
            raise BadParameterError("key", _("A session's entry is not reached by its key."))
        as_shown(value)
    return Target(action, alias, value)


def _stale(why: str) -> str:
    kinds: dict[str, str] = dict(stale_words().items())
    kind = kinds.get(why, _("for whatever reason"))
    return _("the stale entries (%(kind)s)") % {"kind": kind}


DELETE_ENTRY = Action(
    name="delete_entry",
    permission="delete_entry",
    title=gettext_lazy("Delete an entry"),
    question=gettext_lazy("Are you sure you want to delete this entry of the cache “%(alias)s”?"),
    parameter="key",
    back="keys",
    words=lambda key: _("the entry %(key)s") % {"key": name_key(key).shown},
)
CLEAR = Action(
    name="clear",
    permission="clear_cache",
    title=gettext_lazy("Clear a cache"),
    question=gettext_lazy(
        "Are you sure you want to clear the cache “%(alias)s”? It will lose all of its entries."
    ),
    parameter="",
    back="memory",
    words=lambda _value: "",
)
_ALL = (
    DELETE_ENTRY,
    Action(
        name="delete_group",
        permission="delete_group",
        title=gettext_lazy("Delete the entries of a group"),
        question=gettext_lazy(
            "Are you sure you want to delete these entries of the cache “%(alias)s”?"
        ),
        parameter="group",
        back="memory",
        words=lambda group: (
            _("the entries of the group %(group)s") % {"group": formats.visible(group)}
        ),
    ),
    Action(
        name="delete_stale",
        permission="delete_stale",
        title=gettext_lazy("Delete stale entries"),
        question=gettext_lazy(
            "Are you sure you want to delete these entries of the cache “%(alias)s”?"
        ),
        parameter="why",
        back="stale",
        words=_stale,
    ),
    CLEAR,
)
ACTIONS = {each.name: each for each in _ALL}
