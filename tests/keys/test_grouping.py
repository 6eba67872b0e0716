"""Keys as projects write them, and the groups that they fall into."""

from __future__ import annotations

import random
import re
import time
import uuid

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cache_monitor.keys.grouping import GROUP_LENGTH, MATCHED_LENGTH, group_of, has_plain_numbers

KEYS = [
    ("user:17:profile", "user:{int}:profile"),
    ("user:-17", "user:{int}"),
    ("page_12", "page_{int}"),
    ("product/42/price", "product/{int}/price"),
    ("tweet:123456789012345678", "tweet:{int}"),
    ("geo:52.52:13.40", "geo:{int}:{int}"),
    ("cart:6fa459ea-ee8a-3ca4-894e-db77e160355e:rows", "cart:{uuid}:rows"),
    ("cart:6FA459EA-EE8A-3CA4-894E-DB77E160355E", "cart:{uuid}"),
    ("urn:uuid:6fa459ea-ee8a-3ca4-894e-db77e160355e", "urn:uuid:{uuid}"),
    ("select2_6fa459ea-ee8a-3ca4-894e-db77e160355e", "select2_{uuid}"),
    ("celery-task-meta-0b3f2c1e-9d7a-4b6e-8f51-2a1c3d4e5f60", "celery-task-meta-{uuid}"),
    ("cart:6fa459eaee8a3ca4894edb77e160355e", "cart:{hash}"),
    ("thumb_d41d8cd98f00b204e9800998ecf8427e_large", "thumb_{hash}_large"),
    ("sorl-thumbnail||image||d41d8cd98f00b204e9800998ecf8427e", "sorl-thumbnail||image||{hash}"),
    ("rl:0cc175b9c0f1b6a831c399e269772661", "rl:{hash}"),
    ("etag:da39a3ee5e6b4b0d3255bfef95601890afd80709", "etag:{hash}"),
    ("axes-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "axes-{hash}"),
    ("doc:507f1f77bcf86cd799439011", "doc:{hash}"),
    ("static:app.3f2a9c1db4e0.js", "static:app.{hash}.js"),
    ("img:3f2a9c1d", "img:{hash}"),
    ("build-9b1deb4d3b7d", "build-{hash}"),
    (
        "django_compressor.templatetag.5a1b2c3d4e5f60718293a4b5c6d7e8f9.file",
        "django_compressor.templatetag.{hash}.file",
    ),
    ("day:2026-11-22:visits", "day:{date}:visits"),
    ("day/2026/11/22", "day/{date}"),
    ("report:22.11.2026", "report:{date}"),
    ("at:2026-11-22T10:15:00.5+01:00:x", "at:{date}:x"),
    ("at:2026-11-22 10:15:00", "at:{date}"),
    ("at:20261122T101500Z", "at:{date}"),
    ("backup_20261122", "backup_{int}"),
    ("week:2026-W47", "week:{date}"),
    ("month:2026-11", "month:{int}-{int}"),
    ("slot:10:15", "slot:{int}:{int}"),
    ("ts:1700000000.123456", "ts:{int}"),
    ("mail:ann.lee+1@example.com:sent", "mail:{email}:sent"),
    ("mail:ann%40example.com", "mail:{email}"),
    ("user_by_email:ann@mail.example.co.uk", "user_by_email:{email}"),
    ("throttle_anon_192.168.0.1", "throttle_anon_{ip}"),
    ("throttle_user_17", "throttle_user_{int}"),
    ("throttle_anon_2001:db8::8a2e:370:7334", "throttle_anon_{ip}"),
    ("ban:fe80::1ff:fe23:4567:890a", "ban:{ip}"),
    ("ban:2001:0db8:85a3:0000:0000:8a2e:0370:7334:count", "ban:{ip}:count"),
    ("allauth:rl:login:ip:10.0.0.1", "allauth:rl:login:ip:{ip}"),
    ("proxy:10.0.0.1:8080", "proxy:{ip}:{int}"),
    ("geoip/8.8.8.8/city", "geoip/{ip}/city"),
    ("api:aB3dE5fG7hI9jK1lM3nO5p", "api:{token}"),
    ("api:k7fz0q2m9x4b1v8c3n6d5g2h", "api:{token}"),
    ("ulid:01ARZ3NDEKTSV4RRFFQ69G5FAV:x", "ulid:{token}:x"),
    ("cuid:cjld2cjxh0000qzrmn831i7rn", "cuid:{token}"),
    (
        "jwt:eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "jwt:{token}",
    ),
    (
        "jwks:eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UifQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB:kid",
        "jwks:{token}:kid",
    ),
    ("blob:aGVsbG8gd29ybGQhIQ==", "blob:{token}"),
    ("blob:3q2+7wAAAABJRU5ErkJggg==:x", "blob:{token}:x"),
    ("reset:q0Zx8-7hGk3_Lw9PvB2nXc4TfR6==", "reset:{token}"),
    ("reset:c4k2m1-3fd9a0b1c2d3e4f5a6b7c8d9e0f1a2b3", "reset:c4k2m1-{hash}"),
    ("v2:thing:5", "v2:thing:{int}"),
    ("v1.2:user:5", "v1.2:user:{int}"),
    ("api-v3.14.1/items/5", "api-v3.14.1/items/{int}"),
    ("menu:en-us", "menu:en-us"),
    ("menu:pt_BR:footer", "menu:pt_BR:footer"),
    ("menu:zh-hans-cn", "menu:zh-hans-cn"),
    ("menu:es-419", "menu:es-419"),
    ("sites.1.nav.de", "sites.{int}.nav.de"),
    ("thumb:300x200:8", "thumb:{int}x{int}:{int}"),
    ("constance:SITE_NAME", "constance:SITE_NAME"),
    ("waffle:v1:flag:new-checkout", "waffle:v1:flag:new-checkout"),
    (
        "wagtail-rendition-17-3f2a9c1db4e0f111-max-165x165",
        "wagtail-rendition-{int}-{hash}-max-{int}x{int}",
    ),
    ("blog:how-to-cache-django-querysets", "blog:how-to-cache-django-querysets"),
    ("('user', 17)", "('user', {int})"),
    ("search:?page=2&size=20", "search:?page={int}&size={int}"),
    ("UserProfileSerializerCache2", "UserProfileSerializerCache2"),
    ("deadbeef", "deadbeef"),
    ("cafe:menu", "cafe:menu"),
    ("user::17", "user::{int}"),
    ("ns::cafe::17", "ns::cafe::{int}"),
    ("host:1.2.3", "host:{int}.{int}.{int}"),
    ("3d:models", "3d:models"),
    ("ip4address_and_ip6address_list", "ip4address_and_ip6address_list"),
    ("sha256:files", "sha256:files"),
    ("base64-encoder:utf8", "base64-encoder:utf8"),
]
"""Keys of Django's users and of well-known apps (throttles, thumbnails, celery, axes, allauth,
waffle, constance, Wagtail, compressor), and their groups."""


@pytest.mark.parametrize(("key", "group"), KEYS)
def test_a_key_is_in_the_group_of_its_like(key: str, group: str) -> None:
    assert group_of(key) == group


@pytest.mark.parametrize(("key", "group"), KEYS)
def test_what_stands_around_a_key_leaves_its_parts_as_they_are(key: str, group: str) -> None:
    assert group_of(f"site:{key}") == f"site:{group}"


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6, network="2000::/3"))
def test_an_address_of_a_host_is_one_part(address: object) -> None:
    assert group_of(f"throttle:{address}:x") == "throttle:{ip}:x"


@given(st.uuids())
def test_a_uuid_without_dashes_is_a_hash_or_a_number(key: uuid.UUID) -> None:
    assert group_of(f"cart:{key.hex}") in {"cart:{hash}", "cart:{int}"}


def test_a_token_that_the_cut_of_a_long_key_goes_through_is_a_token() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9." + "aB3-" * 300
    assert group_of(f"jwt:{token}") == "jwt:{token}…"


WORDS = ["user", "a", "fe80", "db8", "cafe", "T", "v1", "es-419", "é", "@", "%40", "deadbeef" * 2]
PARTS = [*WORDS, "2001", "12", "3", "2026", "01", "eyJabcdefgh", "AbcDefGhijk=="]
BETWEEN = [":", ":", ":", "::", "", "-", ".", "_", "/"]


def _any_key() -> str:
    """Of one part to nine, of which some are numbers of any length."""
    parts = [
        random.choice(PARTS)
        if random.random() < 0.6
        else "".join(random.choices("0123456789", k=random.randint(1, 20)))
        for _ in range(random.randint(1, 9))
    ]
    return "".join(part + random.choice(BETWEEN) for part in parts)


def test_keys_that_differ_in_plain_numbers_alone_have_one_group() -> None:
    """Of so many, as one in seven has plain numbers alone, that Hypothesis would take a minute."""
    keys = ["host:2001:db8::1", "2001:db8:0:0:0:0:2:1:", *(_any_key() for _ in range(50_000))]
    plain = [key for key in keys if has_plain_numbers(key)]
    assert len(plain) > 2000
    assert [key for key in plain if group_of(key) != group_of(re.sub("[0-9]+", "0", key))] == []


PIECES = st.lists(st.sampled_from(list("aA1-_.:/@+=e0fvyJ xT%é")), min_size=1, max_size=12)
HOSTILE = PIECES.map(lambda piece: ("".join(piece) * MATCHED_LENGTH)[:MATCHED_LENGTH])


@given(HOSTILE | HOSTILE.map(lambda key: key * 100))
@example(("-+1" * MATCHED_LENGTH)[:MATCHED_LENGTH])
@example("a@" * 100_000)
@example("eyJ" * 100_000)
@settings(deadline=None)
def test_no_key_takes_long(key: str) -> None:
    """CPU time, not the clock's. The slowest keys known take 0.4 ms; were the work to grow with the
    square of the length, they would take some hundred times as long."""
    assert _least_time(key, runs=3) < 0.02
    assert len(group_of(key)) <= GROUP_LENGTH


@pytest.mark.parametrize("piece", ["-+1", "_0_", "++1", "0%@", "1-", "a@", "2001:", "aA1-", "1.1."])
def test_the_work_grows_with_the_length_and_not_with_its_square(piece: str) -> None:
    short, long = (
        (piece * MATCHED_LENGTH)[: MATCHED_LENGTH // 8],
        (piece * MATCHED_LENGTH)[:MATCHED_LENGTH],
    )
    times = [(_least_time(short, runs=5), _least_time(long, runs=5)) for _ in range(20)]
    least_short, least_long = map(min, zip(*times, strict=True))
    # Eight times the work, and on a busy machine some more; 64 times if it were the square.
    assert least_long < 30 * least_short


def _least_time(key: str, runs: int) -> float:
    """The CPU time of the least disturbed of some runs: garbage may be collected in any."""
    times = []
    for _ in range(runs):
        began = time.thread_time()
        group_of(key)
        times.append(time.thread_time() - began)
    return min(times)
