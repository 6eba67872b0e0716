"""The code that each page shows: read from the code that runs, so that it cannot go stale."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shop import middleware
from shop.views import (
    backends,
    basket,
    category,
    clear,
    fragment,
    loops,
    low_level,
    per_view,
    pitfalls,
    product,
    stock,
    streams,
    uncached,
)

TEMPLATES = Path(__file__).parent / "templates"


def source(*shown: Callable[..., Any]) -> str:
    return "\n\n\n".join(inspect.getsource(code).rstrip() for code in shown)


def template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8").rstrip()


SNIPPETS = {
    "shop:low_level": source(
        low_level.get_note,
        low_level.set_note,
        low_level.add_note,
        low_level.delete_note,
        low_level.get_or_set_note,
    ),
    "shop:product": source(product.product),
    "shop:category": source(category.category),
    "shop:bestsellers": source(per_view.bestseller_list),
    "shop:newest": source(per_view.NewestList),
    "shop:fragment": "\n\n\n".join(
        (template("shop/parts/best_rated.html"), source(fragment.fragment))
    ),
    "shop:magazine": source(middleware.PerSiteSectionMiddleware),
    "shop:basket": source(basket.basket, basket.session_of),
    "shop:stock": source(stock.stock),
    "shop:clear": source(clear.scratch, clear.clear_scratch),
    "shop:backends": source(backends.read_listing, backends.count_visit, backends.read_prices),
    "shop:stale_content": source(pitfalls.stale_content, pitfalls.drop_price),
    "shop:not_working": source(pitfalls.not_working),
    "shop:not_caching": source(pitfalls.not_caching),
    "shop:memory_bloat": source(pitfalls.memory_bloat),
    "shop:one_by_one": source(loops.one_by_one),
    "shop:large_value": source(loops.large_value),
    "shop:page_per_visitor": source(loops.page_per_visitor),
    "shop:uncached_form": "\n\n\n".join(
        (source(uncached.form), template("shop/uncached_form.html"))
    ),
    "shop:uncached_cookie": source(uncached.cookie),
    "shop:uncached_private": 'cache_page(60, cache="pages")(cache_control(private=True)(page))',
    "shop:uncached_no_cache": 'cache_page(60, cache="pages")(cache_control(no_cache=True)(page))',
    "shop:uncached_no_store": 'cache_page(60, cache="pages")(cache_control(no_store=True)(page))',
    "shop:uncached_max_age_0": "\n\n\n".join(
        ("cache_control(max_age=0)(page)", source(middleware.PerSiteSectionMiddleware))
    ),
    "shop:uncached_no_fetch": "decorator_from_middleware(UpdateCacheMiddleware)(page)",
    "shop:uncached_nested": (
        'cache_page(1, cache="pages", key_prefix="outer")(cache_page(60, cache="pages")(page))'
    ),
    "shop:uncached_other_language": source(uncached.in_german, uncached.other_language),
    "shop:uncached_for_all": source(uncached.for_all),
    "shop:uncached_expired": 'cache_page(1, cache="pages")(page)',
    "shop:uncached_evicted": source(uncached.in_a_crowd, uncached.evicted),
    "shop:uncached_never": 'cache_page(60, cache="pages")(never_cache(page))',
    "shop:uncached_vary_star": source(uncached.vary_star),
    "shop:uncached_no_time": 'cache_page(0, cache="pages")(page)',
    "shop:uncached_dummy": 'cache_page(60, cache="dummy")(page)',
    "shop:uncached_switched_off": source(uncached.switched_off),
    "shop:uncached_variants": source(uncached.by_browser),
    "shop:uncached_others": source(
        uncached.not_found, uncached.streamed, uncached.unpicklable, uncached.posted
    ),
    "shop:streaming": source(streams.lines, streams.async_lines),
}
