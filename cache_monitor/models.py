"""The table of :class:`~cache_monitor.stores.database.DatabaseStore`."""

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

__all__ = ["Dashboard"]


class _LeftOut(models.Manager["Window"]):
    """Finds nothing. Django's ``dumpdata`` asks the first manager of a model."""

    def get_queryset(self) -> models.QuerySet["Window"]:
        return super().get_queryset().none()


class Window(models.Model):
    """One stored payload: the statistics of one process, one cache and one time bucket,
    or (``kind`` "scan") the result of the last scan of a cache."""

    kind = models.CharField(max_length=8)
    process = models.CharField(max_length=32)
    cache = models.CharField(max_length=190)
    start = models.BigIntegerField(help_text=_("Unix time at which the bucket begins."))
    seconds = models.PositiveIntegerField(help_text=_("Length of the bucket."))
    written_at = models.BigIntegerField(help_text=_("Unix time of the last write."))
    payload = models.BinaryField()

    objects = _LeftOut()
    stored = models.Manager["Window"]()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["kind", "process", "cache", "start", "seconds"],
                name="cache_monitor_window_identity",
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["kind", "start"], name="cache_monitor_window_start"),
            models.Index(fields=["written_at"], name="cache_monitor_window_written"),
        ]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.kind} of {self.cache} at {self.start}"


class Dashboard(Window):
    """No table of its own: gives the dashboard its place and its permissions in the admin."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
        # Kept in the database in English, for all languages.
        permissions: ClassVar = [
            ("view_value", gettext_noop("Can view the values of cache entries")),
            ("delete_entry", gettext_noop("Can delete a cache entry")),
            ("delete_group", gettext_noop("Can delete the cache entries of a key group")),
            ("delete_stale", gettext_noop("Can delete stale cache entries")),
            ("clear_cache", gettext_noop("Can clear a cache")),
            ("mute_finding", gettext_noop("Can mute a finding")),
        ]
        verbose_name = _("cache dashboard")
        verbose_name_plural = _("Cache dashboard")
