"""The app of the gallery."""

from __future__ import annotations

from django.apps import AppConfig


class GalleryConfig(AppConfig):
    """One page for each caching mistake that the monitor finds."""

    name = "gallery"
    verbose_name = "Gallery of faults"
