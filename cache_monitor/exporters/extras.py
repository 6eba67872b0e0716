"""Packages that only some exports need."""

EXTRAS = {
    "opentelemetry": "opentelemetry",
    "prometheus_client": "prometheus",
    "rich": "cli",
}
"""The extra of our distribution that brings each package."""


class MissingExtra(ImportError):
    """A package that this export needs is not installed; the message says how to get it."""

    def __init__(self, package: str) -> None:
        extra = EXTRAS[package]
        super().__init__(
            f"{package} is not installed: python -m pip install 'django-cache-monitor[{extra}]'"
        )
