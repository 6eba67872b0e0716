"""What looks like a credential in a key is masked wherever a key is shown or stored."""

import hashlib
import re
import secrets
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import SessionBase
from django.core.cache.utils import make_template_fragment_key
from django.test import override_settings
from django.utils.crypto import get_random_string
from hypothesis import example, given
from hypothesis import strategies as st

from cache_monitor.keys.masking import OwnSessions, masked, own_sessions, without_masks
from cache_monitor.keys.naming import group_key, name_key, unmasked_name, written_as_shown
from cache_monitor.worker.batch import name_and_hash

SESSION_KEY = "k7fz0q2m9x4b1v8c3n6d5g2hk7fz0q2m"
MASK = re.compile("••••[0-9a-v]{8}")
MD5 = hashlib.md5(b"", usedforsecurity=False).hexdigest()
LETTERS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=32, max_size=32)


class SessionStore(db.SessionStore):
    """An engine of the project's own, whose keys have a form of their own."""


@pytest.fixture
def known() -> Iterator[OwnSessions]:
    own_sessions.forget()
    yield own_sessions
    own_sessions.forget()


def _pieces(text: str) -> set[str]:
    return {text[at : at + 8] for at in range(len(text) - 7)}


@pytest.mark.parametrize(
    "key",
    [
        "cart:{}",
        "{}",
        "cart{}",
        "{}17",
        "Cart{}Rows",
        "cart_{}-rows",
        "tenant:é:{}",
        "https://example.com/?s={}&page=2",
        "%3A{}%3A",
        "x:{0}:y:{0}",
        "views.decorators.cache.cache_page.{}.GET." + f"{MD5}.{MD5}.en-us.UTC",
        "views.decorators.cache.cache_header.{}." + f"{MD5}.en-us.UTC",
        "views.decorators.cache.cache_page..GET." + f"{MD5}.{MD5}.{{}}",
        "template.cache.{}." + MD5,
    ],
)
def test_a_session_key_is_masked_whatever_stands_around_it(key: str) -> None:
    for form in (str, str.upper):
        secret = form(SESSION_KEY)
        name = name_key(key.format(secret))
        assert not _pieces(secret) & _pieces(name.shown + name.group)
        assert MASK.search(name.shown)


AROUND = st.text(max_size=600) | st.from_regex("[A-Za-z0-9_-]{0,40}", fullmatch=True)


@given(LETTERS.filter(lambda key: len(set(key)) > 5), AROUND, AROUND, st.sampled_from(["|", ""]))
@example("bppptgiuk6rzepbpqijrirspnn42lnpq", "Cart", "Rows", "")
@example("1xms5sausoa8i7m3fvnv7qwrhglsjwd0", "cache_header.GET", "", "")
def test_no_text_around_it_lets_a_session_key_out(
    key: str, before: str, after: str, separator: str
) -> None:
    text = f"{before}{separator}{key}{separator}{after}"
    name = name_key(text)
    assert key not in name.shown + name.group + group_key(text)


@pytest.mark.parametrize(
    "credential",
    [
        SESSION_KEY,
        "abcdefghijklmnopqrstuvwxyzabcdef",
        "pQ7wZk2TnXb84RfLs1VyGm63HcJd9Ate",
        get_random_string(64),
        secrets.token_hex(20),
        secrets.token_hex(32),
        "Zf8Qx-2mLw_9vKpR3tYb7NcJ5hGd1sAe4uXo6iBz0Tq",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "mW3vYk8-QzR1tLb6_XnGf0hJcP5sAd2Ue7iOy4Bx9Ko",
    ],
    ids=["session", "letters", "csrf", "mixed", "sha1", "sha256", "urlsafe", "jwt", "signature"],
)
def test_other_tokens_are_masked_as_well(credential: str) -> None:
    name = name_key(f"api:{credential}:quota")
    assert re.fullmatch("api:••••[0-9a-v]{8}:quota", name.shown)
    assert name.group in {"api:{token}:quota", "api:{hash}:quota"}


@pytest.mark.parametrize(
    "key",
    [
        "user:17:profile",
        f"user:{UUID(int=7 << 100)}:profile",
        "the-words-of-a-long-slug-that-goes-on-and-on-2024",
        "RecommendationsForReturningCustomersSerializerV2List",
        "short:0123456789abcdef",
        "ulid:01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "x" * 100,
        f"counter:{10**40 + 123456789}",
        make_template_fragment_key("sidebar", ["ann"]),
        f"views.decorators.cache.cache_page..GET.{MD5}.{MD5}.en-us.UTC",
        f"views.decorators.cache.cache_header..{MD5}.en-us.UTC",
    ],
)
def test_what_is_no_credential_stays_readable(key: str) -> None:
    assert masked(key) is None
    assert name_key(key).shown == key


def test_a_mask_tells_one_key_from_another_and_is_the_same_each_time() -> None:
    one, other = name_key(f"cart:{SESSION_KEY}"), name_key(f"cart:{SESSION_KEY[::-1]}")
    assert one.shown != other.shown
    assert one.group == other.group == "cart:{token}"
    assert one == name_key(f"cart:{SESSION_KEY}")


def test_a_mask_tells_nothing_without_the_sites_secret() -> None:
    with override_settings(SECRET_KEY="one"):
        one = name_key(f"cart:{SESSION_KEY}").shown
    with override_settings(SECRET_KEY="other"):
        assert name_key(f"cart:{SESSION_KEY}").shown != one


@pytest.mark.parametrize("credential", [SESSION_KEY, MD5, MD5.upper(), "aB3" * 14])
def test_what_is_shown_is_in_the_group_of_its_key(credential: str) -> None:
    name = name_key(f"cart:{credential}:5")
    assert name_key(name.shown).group == name.group == group_key(f"cart:{credential}:5")
    assert without_masks(name.shown) == name.group.replace("{int}", "5")
    assert written_as_shown(name.shown) == name.shown


def test_a_call_and_a_scan_show_a_long_key_alike() -> None:
    key = f"cart:{SESSION_KEY}:" + "word " * 200
    as_recorded = f"{key[:512]}… ({len(key)} characters)"
    assert name_key(key) == name_key(as_recorded)
    assert name_key(key).shown.endswith(f"… ({len(key):,} characters)")


def test_a_key_that_was_cut_within_a_credential_shows_no_piece_of_it() -> None:
    key = ":".join([SESSION_KEY, SESSION_KEY[::-1]] * 8)
    shown = name_key(f"{key[:512]}… ({len(key)} characters)").shown
    assert not re.search("[a-z0-9]{10}", MASK.sub("", shown).partition("…")[0])


def test_the_projects_own_group_is_found_by_the_key_and_repeats_nothing_of_it() -> None:
    rules = {r"^cart:([a-z0-9]{32})$": r"cart of \1", r"^basket:(.{20})": r"basket \1"}
    with override_settings(CACHE_MONITOR={"KEY_GROUPS": rules}):
        names = [name_key(f"{word}:{SESSION_KEY}") for word in ("cart", "basket")]
    assert names[0].group.startswith("cart of {")
    assert names[1].group.startswith("basket ")
    assert not any(_pieces(SESSION_KEY) & _pieces(each.group) for each in names)


def test_the_users_own_tests_see_the_keys_that_they_wrote() -> None:
    key = f"cart:{SESSION_KEY}"
    assert unmasked_name(key) == name_key(key)._replace(shown=key)
    assert unmasked_name("user:17") == name_key("user:17")


@pytest.mark.parametrize(
    "session_key",
    ["S-20261130-000017", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "user/17/ann.lee", str(UUID(int=7 << 100))],
)
def test_the_session_key_of_an_engine_of_ones_own_is_masked(
    session_key: str, known: OwnSessions
) -> None:
    key = f"cart:{session_key}:rows"
    before = name_and_hash(key, "default")[0]
    assert before.shown == key
    SessionStore(session_key)
    for name in (name_key(key), name_and_hash(key, "default")[0]):
        assert re.fullmatch("cart:••••[0-9a-v]{8}:rows", name.shown)
        assert name.group == "cart:{token}:rows"
    assert known.shortest == len(session_key)


def test_a_session_key_of_plain_numbers_is_masked_where_its_like_were_shown(
    known: OwnSessions,
) -> None:
    assert name_key("cart:12345678").shown == "cart:12345678"
    SessionStore("12345679")
    assert MASK.search(name_key("cart:12345679").shown)
    assert name_key("cart:12345678").shown == "cart:12345678"
    assert known.shortest == 8


@pytest.mark.parametrize("store", [db.SessionStore, SessionStore])
def test_of_djangos_own_form_nothing_has_to_be_learned(store: Any, known: OwnSessions) -> None:
    store(SESSION_KEY)
    store(None)
    assert name_key("user:17:products").shown == "user:17:products"
    assert list(known.within(f"cart:{SESSION_KEY}")) == []


def test_a_visitor_cannot_have_a_word_masked(known: OwnSessions) -> None:
    db.SessionStore("products")
    assert name_key("products:17").shown == "products:17"
    assert list(known.within("products:17")) == []


def test_a_signed_cookie_is_masked(known: OwnSessions) -> None:
    from django.contrib.sessions.backends.signed_cookies import SessionStore as Cookies

    cookie = Cookies()
    cookie["user"] = 17
    cookie.save()
    assert cookie.session_key
    name = name_key(f"cart:{cookie.session_key}")
    assert re.fullmatch("cart:••••[0-9a-v]{8}", name.shown)
    assert list(known.within(cookie.session_key)) == [(0, len(cookie.session_key))]


def test_sessions_work_as_they_did() -> None:
    session = SessionBase("k7fz0q2m")
    assert session.session_key == "k7fz0q2m"
    session._session_key = "short"
    assert session.session_key is None


def test_only_the_last_sessions_are_remembered() -> None:
    sessions = OwnSessions()
    for number in range(25_000):
        sessions.learn(f"S-{number:06}")
    assert len(sessions._young) + len(sessions._old) <= 20_000
    assert list(sessions.within("S-024999")) == [(0, 8)]
    assert list(sessions.within("S-000001")) == []
