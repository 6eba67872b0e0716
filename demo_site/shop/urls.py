"""The demo's pages."""

from __future__ import annotations

from django.urls import path

from shop.views import (
    backends,
    basket,
    category,
    clear,
    fragment,
    home,
    loops,
    low_level,
    magazine,
    per_view,
    pitfalls,
    product,
    stock,
    streams,
    uncached,
)

app_name = "shop"

urlpatterns = [
    path("", home.home, name="home"),
    path("low-level/", low_level.low_level, name="low_level"),
    path("products/<int:pk>/", product.product, name="product"),
    path("bestsellers/", per_view.bestseller_list, name="bestsellers"),
    path("new/", per_view.NewestList.as_view(), name="newest"),
    path("fragments/<slug:slug>/", fragment.fragment, name="fragment"),
    path("categories/<slug:slug>/", category.category, name="category"),
    path("basket/", basket.basket, name="basket"),
    path("stock/", stock.stock, name="stock"),
    path("streaming/", streams.streaming, name="streaming"),
    path("streaming/lines/", streams.stream, name="stream"),
    path("streaming/async-lines/", streams.async_stream, name="async_stream"),
    path("clear/", clear.scratch, name="clear"),
    path("clear/now/", clear.clear_scratch, name="clear_now"),
    path("per-site/", magazine.magazine, name="magazine"),
    path("per-site/<int:pk>/", magazine.article, name="article"),
    path("backends/", backends.backend_list, name="backends"),
    path("backends/<slug:alias>/", backends.backend, name="backend"),
    path("pitfalls/stale-content/", pitfalls.stale_content, name="stale_content"),
    path("pitfalls/stale-content/raise/", pitfalls.raise_price, name="raise_price"),
    path("pitfalls/stale-content/drop/", pitfalls.drop_price, name="drop_price"),
    path("pitfalls/not-working/", pitfalls.not_working, name="not_working"),
    path("pitfalls/not-caching/", pitfalls.not_caching, name="not_caching"),
    path("pitfalls/memory-bloat/", pitfalls.memory_bloat, name="memory_bloat"),
    path("pitfalls/one-by-one/", loops.one_by_one, name="one_by_one"),
    path("pitfalls/large-value/", loops.large_value, name="large_value"),
    path("pitfalls/page-per-visitor/", loops.page_per_visitor, name="page_per_visitor"),
    path("not-cached/", uncached.others, name="uncached_others"),
    path("per-site/max-age-0/", uncached.max_age_0, name="uncached_max_age_0"),
    *(
        path(f"not-cached/{slug}/", view, name=f"uncached_{slug.replace('-', '_')}")
        for slug, view in uncached.VIEWS.items()
    ),
]
