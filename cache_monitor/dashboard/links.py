"""Where the dashboard's links lead: the pages of the admin site that shows it, same period."""

from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.urls import reverse

from cache_monitor.dashboard.query import Query
from cache_monitor.keys.display import SHOWN_LENGTH
from cache_monitor.keys.naming import SESSION_MASK


def _can_be_named(text: str) -> bool:
    """Whether a URL can name ``text``: not what is empty, which stands there for nothing asked,
    and not what is longer than any key or group that is shown."""
    return 0 < len(text) <= SHOWN_LENGTH


class Links:
    """The addresses of the pages, with the period and the cache that ``query`` asks for."""

    def __init__(self, site: AdminSite, query: Query) -> None:
        self._site = site
        self._query = query

    def path(self, name: str) -> str:
        """The address of a page by its name, without a query."""
        return reverse(f"admin:cache_monitor_{name}", current_app=self._site.name)

    def page(self, name: str, **changes: str) -> str:
        """A page that asks the same; ``changes`` are added, an empty one leaves out."""
        asked = self._query.carried(**changes)
        return f"{self.path(name)}?{asked}" if asked else self.path(name)

    def entry(self, alias: str, key: str, group: str = "") -> str:
        """The page of one key; nothing for a session's, which is masked."""
        if group == "session" or key == SESSION_MASK or not _can_be_named(key):
            return ""
        return self.page("entry", alias=alias, key=key)

    def group(self, alias: str, group: str) -> str:
        """The keys of a group."""
        return self.page("keys", alias=alias, group=group) if _can_be_named(group) else ""

    def view(self, name: str) -> str:
        """One view of the site, with samples of what it asks."""
        return self.page("views", view=name) if _can_be_named(name) else ""

    def action(self, name: str, **target: str) -> str:
        """The confirmation page of an action, which comes back to this period."""
        if not all(map(_can_be_named, target.values())):
            return ""
        return f"{self.path(name)}?{urlencode({**target, 'back': self._query.carried()})}"
