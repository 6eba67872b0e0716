"""What the demo shows, page by page; the start page and the navigation read it from here."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.urls import reverse

from shop.seeding import FIRST_CATEGORY_SLUG


@dataclass(frozen=True)
class Page:
    """A page, its way of caching in a few words, and what to look for after a visit."""

    name: str
    title: str
    way: str
    sentence: str
    watch: str
    arguments: dict[str, str | int] = field(default_factory=dict)

    @property
    def view_name(self) -> str:
        return f"shop:{self.name}"

    @property
    def url(self) -> str:
        return reverse(self.view_name, kwargs=self.arguments)


@dataclass(frozen=True)
class Section:
    title: str
    pages: tuple[Page, ...]


@dataclass(frozen=True)
class Backend:
    """A cache backend that has a page of its own."""

    alias: str
    name: str
    sentence: str

    @property
    def url(self) -> str:
        return reverse("shop:backend", kwargs={"alias": self.alias})


WAYS = Section(
    "Ways of caching",
    (
        Page(
            "low_level",
            "Low-level API",
            "Low-level cache API",
            "set, get, delete, add and get_or_set on one key, each behind a button.",
            "Each button makes exactly one call on “default”. The panel names it and its key, and "
            "says of a get whether it hit or missed.",
        ),
        Page(
            "product",
            "Product page",
            "Get, then set",
            "Ask the cache; after a miss, load from the database and store for five minutes.",
            "One get a request; after a miss also one set. The dashboard gathers all products in "
            "the key group product:{int}, with its hit ratio and the number of different keys.",
            {"pk": 1},
        ),
        Page(
            "category",
            "Category page",
            "Queryset through get_or_set",
            "A rated product list: the result of a heavy query, stored as a list.",
            "One get_or_set on “default”: a miss where the callable had to run, else a hit. In the "
            "toolbar's SQL panel the heavy query is gone on a hit.",
            {"slug": FIRST_CATEGORY_SLUG},
        ),
        Page(
            "bestsellers",
            "Bestsellers",
            "Per-view cache, function",
            "@cache_page on a function view: the whole answer, for a minute.",
            "Two gets on “pages” for a hit: one for the headers the page varies on, one for the "
            "page. Django's own keys are gathered in groups of cached pages and of their headers.",
        ),
        Page(
            "newest",
            "New arrivals",
            "Per-view cache, class",
            "The same decorator on a class, through method_decorator on dispatch.",
            "The same calls as for the function view.",
        ),
        Page(
            "fragment",
            "Template fragment",
            "Template fragment cache",
            "{% cache %} around the costly part of a template, one entry per category.",
            "One get on “pages”, and one set when it missed. The fragment appears under its name.",
            {"slug": FIRST_CATEGORY_SLUG},
        ),
        Page(
            "magazine",
            "Magazine",
            "Per-site cache middleware",
            "Every page below /per-site/ is cached without a word in its views.",
            "Calls on “site”, made by middleware: two gets for a hit; two sets after a miss, of "
            "the page and of the headers it varies on.",
        ),
        Page(
            "stock",
            "Stock",
            "Async cache API",
            "An async view with aget and aset.",
            "The async calls are recorded under the names of their plain twins, get and set.",
        ),
        Page(
            "clear",
            "Clear a cache",
            "cache.clear()",
            "Empty a whole cache, on an alias where that hurts nobody.",
            "One clear on “scratch”, and misses where there were hits: the chart of the hit ratio "
            "shows the dent.",
        ),
        Page(
            "backends",
            "Backends",
            "Backends side by side",
            "The same small workload on local memory, files, database, Redis and memcached.",
            "Each alias has its own figures. Compare the time of a call, and what each backend can "
            "tell about its memory.",
        ),
    ),
)

PITFALLS = Section(
    "Pitfalls",
    (
        Page(
            "stale_content",
            "Stale content",
            "Pitfall: stale content",
            "A price is cached for a day, and a change in the database does not reach it.",
            "A hit that serves an old value looks healthy in a hit ratio: all of these are hits.",
        ),
        Page(
            "not_working",
            "Cache not working",
            "Pitfall: cache not working",
            "A DummyCache left over from development: every call succeeds, nothing is kept.",
            "Lookups on “dummy” that all miss: a hit ratio of 0 %, and no entries.",
        ),
        Page(
            "not_caching",
            "Data not caching",
            "Pitfall: data not caching",
            "A key that is different on every request: written each time, never found.",
            "Misses only, in a key group with as many different keys as calls.",
        ),
        Page(
            "memory_bloat",
            "Memory bloat",
            "Pitfall: memory bloat",
            "Large values without a timeout that nobody reads.",
            "The memory of “pitfalls” grows with every visit, all of it among the stale entries "
            "without expiry.",
        ),
    ),
)

SECTIONS = (WAYS, PITFALLS)

PAGES = {page.view_name: page for section in SECTIONS for page in section.pages}

BACKENDS = {
    backend.alias: backend
    for backend in (
        Backend("default", "Local memory", "The process's own memory: fastest, shared by nobody."),
        Backend(
            "files", "Files", "A file per entry: survives a restart, slow when there are many."
        ),
        Backend("database", "Database", "A table made by createcachetable: no server to run."),
        Backend("redis", "Redis", "django-redis: shared by all processes and hosts."),
        Backend("memcached", "memcached", "PyMemcacheCache: shared, bounded memory, no disk."),
    )
}
