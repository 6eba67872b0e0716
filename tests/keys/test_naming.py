"""A key's name: its group, its kind, and what of it may be shown."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
import uuid
from typing import Any

import pytest
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.utils import make_template_fragment_key
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.utils.cache import get_cache_key, learn_cache_key
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.keys.known_keys import routes
from cache_monitor.keys.naming import KeyName, group_key, name_key, written_as_shown

MD5 = hashlib.md5(b"", usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(
    ("key", "group"),
    [
        ("user:17:profile", "user:{int}:profile"),
        ("user:-17", "user:{int}"),
        ("page_12", "page_{int}"),
        ("page-12", "page-{int}"),
        ("page.12", "page.{int}"),
        ("page/12", "page/{int}"),
        ("geo:52.52:13.40", "geo:{int}:{int}"),
        ("host:192.168.0.1", "host:{ip}"),
        ("tweet:123456789012345678", "tweet:{int}"),
        (f"cart:{uuid.UUID(int=7 << 100)}:rows", "cart:{uuid}:rows"),
        (f"User-{uuid.UUID(int=7 << 100)}", "User-{uuid}"),
        (f"thumb_{MD5}_large", "thumb_{hash}_large"),
        (f"thumb:{MD5.upper()}", "thumb:{hash}"),
        (f"etag:{hashlib.sha1(b'', usedforsecurity=False).hexdigest()}", "etag:{hash}"),
        (f"etag:{hashlib.sha256(b'').hexdigest()}", "etag:{hash}"),
        ("short:0123456789abcdef", "short:{hash}"),
        ("day:2026-11-22:visits", "day:{date}:visits"),
        ("day/2026/11/22", "day/{date}"),
        ("at:2026-11-22T10:15:00.5+01:00:x", "at:{date}:x"),
        ("at:2026-11-22 10:15:00", "at:{date}"),
        ("at:20261122T101500Z", "at:{date}"),
        ("mail:ann.lee+1@example.com:sent", "mail:{email}:sent"),
        ("mail:ann%40example.com", "mail:{email}"),
        ("api:aB3dE5fG7hI9jK1lM3nO5p", "api:{token}"),
        ("api:k7fz0q2m9x4b1v8c3n6d5g2h", "api:{token}"),
        ("ulid:01ARZ3NDEKTSV4RRFFQ69G5FAV:x", "ulid:{token}:x"),
        ("reset:q0Zx8-7hGk3_Lw9PvB2nXc4TfR6==", "reset:{token}"),
    ],
)
def test_variable_parts_of_a_key_are_replaced_in_its_group(key: str, group: str) -> None:
    assert name_key(key) == KeyName(written_as_shown(key), group, "key")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "settings",
        "v2:thing",
        "page12",
        "user17",
        "3d:models",
        "deadbeef",
        "café2:menu",
        "UserProfileSerializerCache2",
        "the-words-of-a-long-slug-that-goes-on",
        "ip4address_and_ip6address_list",
    ],
)
def test_names_with_digits_in_them_are_their_own_group(key: str) -> None:
    assert name_key(key).group == key


def test_words_and_numbers_of_a_slug_are_no_token() -> None:
    assert name_key("Order-1-of-20-and-page-3").group == "Order-{int}-of-{int}-and-page-{int}"


def test_nearly_all_random_tokens_are_recognised() -> None:
    groups = [name_key(f"reset:{secrets.token_urlsafe(32)}").group for _ in range(1000)]
    assert groups.count("reset:{token}") > 850


def request(path: str) -> HttpRequest:
    return RequestFactory().get(path)


class TestKeysThatDjangoMakes:
    @pytest.mark.parametrize(
        ("prefix", "group"), [("", "page GET {hash}"), ("my.site7", "page my.site7 GET {hash}")]
    )
    @pytest.mark.parametrize("use_i18n", [True, False])
    @pytest.mark.parametrize("use_tz", [True, False])
    def test_a_cached_page_is_named_for_its_prefix_and_method(
        self, prefix: str, group: str, use_i18n: bool, use_tz: bool
    ) -> None:
        """Where its route is not known; tests/keys/test_routes.py has the others."""
        with override_settings(USE_I18N=use_i18n, USE_TZ=use_tz, TIME_ZONE="Europe/Berlin"):
            key = learn_cache_key(request("/"), HttpResponse(), 60, prefix)
        routes.forget()
        assert name_key(key) == KeyName(key, group, "page")

    def test_the_headers_of_a_cached_page_have_a_kind_of_their_own(self) -> None:
        looked_up: list[str] = []

        class Cache(DummyCache):
            def get(self, key: Any, *_: Any, **__: Any) -> None:
                looked_up.append(key)

        get_cache_key(request("/"), "shop", cache=Cache("", {}))
        routes.forget()
        assert name_key(looked_up[0])[1:] == ("page headers shop {hash}", "page_headers")

    @pytest.mark.parametrize("name", ["sidebar", "shop.side.bar", "Ünï ✓"])
    def test_a_template_fragment_goes_by_its_name(self, name: str) -> None:
        key = make_template_fragment_key(name, ["ann", 7])
        assert name_key(key) == KeyName(key, f"fragment {name}", "fragment")

    @pytest.mark.parametrize(
        "key",
        [
            "template.cache.sidebar",
            "views.decorators.cache.cache_page.x",
            f"my.template.cache.sidebar.{MD5}",
        ],
    )
    def test_keys_that_only_resemble_them_are_plain_keys(self, key: str) -> None:
        assert name_key(key).kind == "key"


class Unwritable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Odd(str):
    __slots__ = ()

    def __str__(self) -> str:
        return self

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")


class TestWhatIsShown:
    def test_a_long_key_is_cut_and_tells_its_length(self) -> None:
        shown = name_key("é" * 1000).shown
        assert len(shown) == 250
        assert shown.endswith("é… (1,000 characters)")

    def test_a_key_of_the_greatest_length_is_shown_whole(self) -> None:
        assert name_key("x" * 250).shown == "x" * 250

    def test_control_and_bidi_characters_are_written_out(self) -> None:
        assert name_key("a\n\x00\u202eb\ud800 c").shown == r"a\n\x00\u202eb\ud800 c"

    @pytest.mark.parametrize(
        ("key", "shown"),
        [
            (17, "17"),
            (None, "None"),
            (b"raw:17", "b'raw:17'"),
            (("user", 17), "('user', 17)"),
            (Unwritable(), "<Unwritable>"),
            (Odd("user:17"), "user:17"),
        ],
        ids=["number", "nothing", "bytes", "tuple", "unwritable", "odd"],
    )
    def test_a_key_of_any_type_is_shown(self, key: object, shown: str) -> None:
        assert name_key(key).shown == shown

    def test_a_number_as_key_is_in_the_group_of_numbers(self) -> None:
        assert name_key(17).group == "{int}"

    def test_the_part_that_the_cut_of_a_long_key_went_through_is_left_out(self) -> None:
        groups = {name_key(f"{'x:' * 240}{MD5}{'1' * end}").group for end in range(3)}
        assert len(groups) == 1


MADE_BY_DJANGO = [
    f"views.decorators.cache.cache_page.shop.GET.{MD5}.{MD5}.en-us.UTC",
    f"views.decorators.cache.cache_header.shop.{MD5}.en-us.UTC",
    f"template.cache.side.bar.{MD5}",
    "django.contrib.sessions.cachek7fz0q2m9x4b1v8c",
]
SHORT_TEXT = st.text(st.characters(codec=None))
ANY_TEXT = SHORT_TEXT | SHORT_TEXT.map(lambda text: text * 200)


class TestWhateverTheKeyIs:
    @given(ANY_TEXT | st.binary() | st.integers() | st.none() | st.tuples(ANY_TEXT, st.floats()))
    def test_its_name_is_bounded_printable_and_can_be_encoded(self, key: object) -> None:
        name = name_key(key)
        assert len(name.shown) <= 250
        assert len(name.group) <= 120
        assert (name.shown + name.group).isprintable()
        assert (name.shown + name.group).encode().decode() == name.shown + name.group

    @given(ANY_TEXT | st.text("aB1-_.:/@ {}e") | st.integers() | st.sampled_from(MADE_BY_DJANGO))
    def test_its_group_alone_is_that_of_its_name(self, key: object) -> None:
        assert group_key(key) == name_key(key).group

    @given(st.text("aB1-_.:/@ {}e", max_size=100))
    def test_a_group_is_the_group_of_itself(self, key: str) -> None:
        group = name_key(key).group
        assert name_key(group).group == group

    @given(*[st.tuples(st.integers(), st.uuids(), st.dates(dt.date(1000, 1, 1)))] * 2)
    def test_keys_that_differ_in_variable_parts_alone_share_a_group(
        self, some: tuple[object, ...], others: tuple[object, ...]
    ) -> None:
        keys = [":".join(["a", *map(str, parts), "z"]) for parts in (some, others)]
        assert {name_key(key).group for key in keys} == {"a:{int}:{uuid}:{date}:z"}

    @pytest.mark.parametrize("part", ["a-", "1.", "a@", "aA1-", "-", "2026-11-22T", "Aa0_", "f"])
    def test_a_key_of_megabytes_is_named_quickly(self, part: str) -> None:
        assert len(name_key(part * 1_000_000).group) <= 120
