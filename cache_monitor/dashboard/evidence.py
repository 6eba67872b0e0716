"""What the figures behind a finding are of, in words."""

from django.utils.translation import gettext as _


def label(name: str) -> str:
    """What a figure of the evidence is of; its unit stands with the figure."""
    return _labels().get(name) or name.removesuffix("_seconds").removesuffix("_bytes").replace(
        "_", " "
    )


def _labels() -> dict[str, str]:
    return {
        "again_each": _("again, each request"),
        "bytes": _("bytes"),
        "bytes_without_expiry": _("bytes without expiry"),
        "cache_request_seconds": _("in the cache, each request"),
        "calls": _("calls"),
        "calls_each": _("calls each request"),
        "cause": _("cause"),
        "clears": _("clears"),
        "deleted_unread": _("deleted unread"),
        "deletes": _("deletes"),
        "detail": _("detail"),
        "distinct_keys": _("distinct keys"),
        "entries": _("entries"),
        "entries_without_expiry": _("entries without expiry"),
        "errors": _("errors"),
        "evicted": _("evicted"),
        "expired": _("expired"),
        "expired_bytes": _("bytes expired"),
        "expired_rewrites": _("written anew when expired"),
        "get_seconds": _("a get"),
        "gets_each": _("gets each request"),
        "groups": _("groups"),
        "hit_ratio": _("hit ratio"),
        "hits": _("hits"),
        "limit_bytes": _("limit"),
        "limit_entries": _("entries at most"),
        "load_share": _("share of the load"),
        "lookup_seconds": _("lookup"),
        "lookups": _("lookups"),
        "lookups_share": _("share of the lookups"),
        "lost": _("lost"),
        "lost_request_seconds": _("time lost each request"),
        "lost_seconds": _("time lost"),
        "median_age": _("median age"),
        "misses": _("misses"),
        "misses_by_clear": _("misses by clear"),
        "misses_by_deletion": _("misses by deletion"),
        "one_of_a_kind": _("one of a kind"),
        "operation": _("operation"),
        "overwritten_unread": _("overwritten unread"),
        "p90_age": _("age, p90"),
        "predicted_entries": _("entries, predicted"),
        "predicted_error_points": _("points of error"),
        "predicted_instead_entries": _("entries now"),
        "predicted_instead_timeout": _("timeout now"),
        "predicted_points": _("points gained"),
        "predicted_saved_seconds": _("saved an hour"),
        "predicted_stale_share": _("stale hits, predicted"),
        "predicted_timeout": _("timeout, predicted"),
        "processes": _("processes"),
        "produce_seconds": _("to produce"),
        "produced": _("produced"),
        "produced_in_vain": _("produced in vain"),
        "read_bytes": _("read"),
        "reason": _("reason"),
        "request_share": _("share of the request"),
        "requests": _("requests"),
        "sets": _("sets"),
        "stale_share": _("share of the hits that had changed"),
        "unchanged_share": _("rewrites unchanged"),
        "view": _("view"),
        "written_bytes": _("written"),
    }
