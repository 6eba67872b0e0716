"""Take apart the keys under which Django keeps cached pages and the header lists of pages.

Their forms are those of ``django.utils.cache``. A page's address is in them as a digest alone.
"""

import re
from typing import Literal, NamedTuple

PageKind = Literal["page", "page_headers"]

PREFIX = "views.decorators.cache.cache_"

_MD5 = "[0-9a-f]{32}"
_PAGE = re.compile(
    r"views\.decorators\.cache\.cache_page\.(?P<prefix>.*)\.(?P<method>[A-Z]+)"
    rf"\.(?P<url>{_MD5})\.(?P<variant>{_MD5})(?:\.(?P<suffix>.*))?",
    re.DOTALL,
)
_HEADERS = re.compile(
    rf"views\.decorators\.cache\.cache_header\.(?P<prefix>.*)\.(?P<url>{_MD5})"
    r"(?:\.(?P<suffix>.*))?",
    re.DOTALL,
)
# The digest of no headers at all.
_NO_VARIANT = "d41d8cd98f00b204e9800998ecf8427e"


class PageKey(NamedTuple):
    """The parts of such a key.

    ``url`` is the MD5 of the page's address, in hex; ``variant`` that of the request's headers
    that the page varies by, empty where there are none. ``suffix`` names language and time zone.
    A list of headers has no method and no variant.
    """

    kind: PageKind
    prefix: str
    method: str
    url: str
    variant: str
    suffix: str

    @property
    def digest(self) -> str:
        """A short name for the address and the variant."""
        return f"#{self.url[:8]}" + (f"-{self.variant[:8]}" if self.variant else "")


def page_key(text: str) -> PageKey | None:
    """The parts of the key ``text``; None if it is no page's."""
    if not text.startswith(PREFIX):
        return None
    if found := _PAGE.fullmatch(text):
        prefix, method, url, variant, suffix = found.groups("")
        variant = "" if variant == _NO_VARIANT else variant
        return PageKey("page", prefix, method, url, variant, suffix)
    if found := _HEADERS.fullmatch(text):
        prefix, url, suffix = found.groups("")
        return PageKey("page_headers", prefix, "", url, "", suffix)
    return None
