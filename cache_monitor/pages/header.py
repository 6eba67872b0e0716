"""What came of a page pass, as an entry of the header ``Cache-Status`` (RFC 9211)."""

from cache_monitor.pages.passes import PagePass

_DETAILS = {"cookie": "set-cookie", "vary_star": "vary-all"}


def cache_status(page_pass: PagePass) -> str:
    """Such as ``django; hit; ttl=120``, ``django; fwd=miss; stored`` or
    ``django; fwd=bypass; detail="set-cookie"``."""
    parts = ["django"]
    if page_pass.fetch == "hit":
        parts.append("hit")
    elif page_pass.fetch == "bypass":
        parts.append("fwd=method")
    elif page_pass.stored:
        parts += ["fwd=miss", "stored"]
    else:
        parts.append("fwd=bypass")
    if page_pass.ttl is not None:
        parts.append(f"ttl={page_pass.ttl:.0f}")
    if page_pass.reason is not None and page_pass.fetch != "bypass":
        detail = _DETAILS.get(page_pass.reason, page_pass.reason.replace("_", "-"))
        parts.append(f'detail="{detail}"')
    elif page_pass.missed == "other_key":
        parts.append('detail="other-key"')
    return "; ".join(parts)
