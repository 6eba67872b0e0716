"""Telling of new findings: a signal for programs, a logger for people."""

import logging
from collections.abc import Iterable

from django.dispatch import Signal

from cache_monitor.keys.display import printable
from cache_monitor.reports.schema import Finding

logger = logging.getLogger("cache_monitor.findings")

finding_detected = Signal()
"""Sent once for each new finding, from the monitor's own thread, with ``finding``
(:class:`cache_monitor.reports.schema.Finding`). A receiver that raises stops nobody."""

_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}


def tell(findings: Iterable[Finding]) -> None:
    """Log each of ``findings`` and send :data:`finding_detected` for it."""
    for finding in findings:
        where = ", ".join(filter(None, [finding.alias, finding.group, finding.key]))
        logger.log(
            _LEVELS[finding.severity],
            "%s (%s): %s",
            finding.code,
            printable(where),
            printable(finding.advice),
            extra={"finding": finding},
        )
        for receiver, answer in finding_detected.send_robust(sender=None, finding=finding):
            if isinstance(answer, Exception):
                logger.error("The receiver %r failed.", receiver, exc_info=answer)
