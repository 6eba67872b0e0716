"""What the demo shows, page by page; the start page and the navigation read it from here."""

from __future__ import annotations

from shop.seeding import FIRST_CATEGORY_SLUG
from shop.tour import Effect, Page, Section, findings_of, keys_of, overview, overview_of

CACHED_PAGES = Effect("Cached pages, and why others are not", "views")


def uncached(name: str, title: str, sentence: str, says: str, when: str = "") -> Page:
    """A page that the page cache leaves out; ``says`` is what the panel says of it."""
    way = f"Not cached: {title[0].lower()}{title[1:]}"
    watch = f"{when} The panel says: “{says}”".lstrip()
    return Page(f"uncached_{name}", title, way, sentence, watch, (CACHED_PAGES,))


WAYS = Section(
    "Ways of caching",
    "Each page caches in one of the ways that Django teaches, and shows its own code.",
    (
        Page(
            "low_level",
            "Low-level API",
            "Low-level cache API",
            "set, get, delete, add and get_or_set on one key, each behind a button.",
            "Each button makes exactly one call on “default”. The panel names it and its key, and "
            "says of a get whether it hit or missed.",
            (keys_of("default", "demo:note"),),
        ),
        Page(
            "product",
            "Product page",
            "Get, then set",
            "Ask the cache; after a miss, load from the database and store for five minutes.",
            "One get a request; after a miss also one set. The dashboard gathers all products in "
            "the key group product:{int}, with its hit ratio and the number of different keys.",
            (
                keys_of("default", "product:{int}"),
                Effect("Misses a request of each view", "views"),
            ),
            {"pk": 1},
        ),
        Page(
            "category",
            "Category page",
            "Queryset through get_or_set",
            "A rated product list: the result of a heavy query, stored as a list.",
            "One get_or_set on “default”: a miss where the callable had to run, else a hit. In the "
            "toolbar's SQL panel the heavy query is gone on a hit.",
            (keys_of("default", "category:{int}:best-rated"),),
            {"slug": FIRST_CATEGORY_SLUG},
        ),
        Page(
            "bestsellers",
            "Bestsellers",
            "Per-view cache, function",
            "@cache_page on a function view: the whole answer, for a minute.",
            "Two gets on “pages” for a hit: one for the headers the page varies on, one for the "
            "page. Django's own keys are gathered in groups of cached pages and of their headers.",
            (keys_of("pages", "page GET /bestsellers/"),),
        ),
        Page(
            "newest",
            "New arrivals",
            "Per-view cache, class",
            "The same decorator on a class, through method_decorator on dispatch.",
            "The same calls as for the function view.",
            (keys_of("pages", "page GET /new/"),),
        ),
        Page(
            "fragment",
            "Template fragment",
            "Template fragment cache",
            "{% cache %} around the costly part of a template, one entry per category.",
            "One get on “pages”, and one set when it missed. The fragment appears under its name.",
            (keys_of("pages", "fragment best_rated"),),
            {"slug": FIRST_CATEGORY_SLUG},
        ),
        Page(
            "magazine",
            "Magazine",
            "Per-site cache middleware",
            "Every page below /per-site/ is cached without a word in its views.",
            "Calls on “site”, made by middleware: two gets for a hit; two sets after a miss, of "
            "the page and of the headers it varies on.",
            (
                keys_of("site", "page GET /per-site/"),
                overview_of("site"),
            ),
        ),
        Page(
            "basket",
            "Basket",
            "Cached sessions",
            "Django's cached_db sessions: read from the cache, kept in the database too.",
            "Calls on “sessions”, one get a visit and one set after a change. A session's key lets "
            "its bearer in, so it is masked in the panel, in the dashboard and in every export.",
            (
                Effect("The group of all sessions", "groups", {"alias": "sessions"}),
                overview_of("sessions"),
            ),
        ),
        Page(
            "stock",
            "Stock",
            "Async cache API",
            "An async view with aget and aset.",
            "The async calls are recorded under the names of their plain twins, get and set.",
            (keys_of("default", "stock:sold-out"),),
        ),
        Page(
            "streaming",
            "Streaming",
            "Cache calls in a stream",
            "A response that asks the cache while it is sent, after the view has returned.",
            "The stream itself carries no toolbar: choose it in the history panel. All its calls "
            "are there, those made after the view too.",
            (keys_of("scratch", "stream:{int}"),),
        ),
        Page(
            "clear",
            "Clear a cache",
            "cache.clear()",
            "Empty a whole cache, on an alias where that hurts nobody.",
            "One clear on “scratch”, and misses where there were hits: the chart of the hit ratio "
            "shows the dent.",
            (overview_of("scratch"),),
        ),
        Page(
            "backends",
            "Backends",
            "Backends side by side",
            "The same small workload on local memory, files, database, Redis and memcached.",
            "Each alias has its own figures. Compare the time of a call, and what each backend can "
            "tell about its memory.",
            (overview(),),
        ),
    ),
)

PITFALLS = Section(
    "Classic mistakes",
    "Each page makes a mistake at every visit, and says what the cure is.",
    (
        Page(
            "stale_content",
            "Stale content",
            "Pitfall: stale content",
            "A price is cached for a day, and a change in the database does not reach it.",
            "A hit that serves an old value looks healthy in a hit ratio: all of these are hits.",
            (keys_of("pitfalls", "offer:price"),),
        ),
        Page(
            "not_working",
            "Cache not working",
            "Pitfall: cache not working",
            "A DummyCache left over from development: every call succeeds, nothing is kept.",
            "Lookups on “dummy” that all miss: a hit ratio of 0 %, and no entries.",
            (overview_of("dummy"),),
        ),
        Page(
            "not_caching",
            "Data not caching",
            "Pitfall: data not caching",
            "A key that is different on every request: written each time, never found.",
            "Misses only, in a key group with as many different keys as calls.",
            (keys_of("pitfalls", "search:{uuid}"),),
        ),
        Page(
            "memory_bloat",
            "Memory bloat",
            "Pitfall: memory bloat",
            "Large values without a timeout that nobody reads.",
            "The memory of “pitfalls” grows with every visit, all of it among the stale entries "
            "without expiry.",
            (
                Effect(
                    "Entries of “pitfalls” without expiry",
                    "stale",
                    {"alias": "pitfalls", "why": "no_expiry"},
                ),
            ),
        ),
        Page(
            "one_by_one",
            "One by one",
            "Pitfall: cache calls in a loop",
            "A get for each row where one get_many would do, and the same key over and over.",
            "The panel's hints single-gets and repeated-gets, with the line of code and the time "
            "that would be saved.",
            (
                keys_of("scratch", "price:{int}"),
                keys_of("scratch", "rate:gbp"),
            ),
        ),
        Page(
            "large_value",
            "Large value",
            "Pitfall: one large value",
            "The whole catalogue under one key, read and unpickled to show three names.",
            "The panel's hint large-values, and the size of the call.",
            (findings_of("scratch"),),
        ),
        Page(
            "page_per_visitor",
            "Page per visitor",
            "Pitfall: a page that varies by cookie",
            "cache_page on a view that shows the session: each visitor fills an entry of his own.",
            "The panel's hint key-explosion. Two windows, one of them private, do not share the "
            "page.",
            (keys_of("pages", "page GET /pitfalls/page-per-visitor/"),),
        ),
    ),
)

UNCACHED = Section(
    "Why is this page not cached?",
    "Django's page cache says nothing when it leaves a page out. The panel does.",
    (
        uncached(
            "form",
            "A form in the page",
            "{% csrf_token %} sets a cookie and makes the page vary by it.",
            "It sets a cookie (csrftoken) and varies by Cookie.",
        ),
        uncached(
            "cookie",
            "A cookie set",
            "The view sets a cookie, and the page varies by cookies.",
            "It sets a cookie (seen) and varies by Cookie.",
        ),
        uncached(
            "private",
            "Private",
            "cache_control(private=True) says that a page is one visitor's own.",
            "Cache-Control says private",
        ),
        uncached(
            "no_cache",
            "No-cache",
            "cache_control(no_cache=True) tells every cache to ask again.",
            "Cache-Control says no-cache",
        ),
        uncached(
            "no_store",
            "No-store",
            "cache_control(no_store=True) forbids every cache to keep the page.",
            "Cache-Control says no-store",
        ),
        uncached(
            "never",
            "Never cached",
            "never_cache stands below cache_page, and wins.",
            "Cache-Control says private",
        ),
        uncached(
            "max_age_0",
            "An age of 0",
            "The whole site is cached, but this view says max-age=0.",
            "Cache-Control says max-age=0.",
        ),
        uncached(
            "vary_star",
            "Varies by everything",
            "Vary: * says that no two requests are alike.",
            "It varies by everything (Vary: *).",
        ),
        uncached(
            "no_time",
            "No time",
            "A timeout of 0 stores nothing.",
            "Its timeout is 0.",
        ),
        uncached(
            "dummy",
            "A dummy behind it",
            "The cache behind cache_page is a DummyCache.",
            "The cache is a DummyCache, which keeps nothing.",
        ),
        uncached(
            "switched_off",
            "Switched off",
            "The view sets request._cache_update_cache to False.",
            "Something set request._cache_update_cache to False.",
        ),
        uncached(
            "no_fetch",
            "Half the middleware",
            "UpdateCacheMiddleware is there, FetchFromCacheMiddleware is not.",
            "FetchFromCacheMiddleware was not asked",
        ),
        uncached(
            "nested",
            "One in the other",
            "Two cache_page: the outer one's second is over, the inner one serves the page, and "
            "the outer one does not store it again.",
            "A cache_page further in had served it.",
            "Reload it after a second.",
        ),
        uncached(
            "variants",
            "Many variants",
            "The page varies by the browser: each kind fills an entry of its own.",
            "It was not there in this variant: it varies by User-Agent.",
            "Reload it in another browser.",
        ),
        uncached(
            "other_language",
            "Another language's key",
            "The page is looked up in one language and stored in another: nobody finds it.",
            "language or time zone changed in between.",
        ),
        uncached(
            "for_all",
            "One visitor's page for all",
            "The view reads the session. cache_page stores the page before Vary: Cookie is added, "
            "and serves it to everybody.",
            "Yet the page is stored without Vary: Cookie, so every visitor gets it.",
            "It is the first visit in a minute that tells.",
        ),
        uncached(
            "expired",
            "Expired",
            "The page lives for a second.",
            "Why: expired.",
            "Reload it after a second.",
        ),
        uncached(
            "evicted",
            "Evicted",
            "The cache has room for twenty entries, and others store forty between two visits.",
            "Why: evicted.",
            "Reload it.",
        ),
        uncached(
            "others",
            "Other ways",
            "Posts, errors, streams, and what cannot be pickled.",
            "Only GET and HEAD are cached; this was POST.",
            "Each has its sentence, in the history panel.",
        ),
    ),
)

SECTIONS = (WAYS, PITFALLS, UNCACHED)

PAGES = {page.view_name: page for section in SECTIONS for page in section.pages}
