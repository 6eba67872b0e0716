"""What the figures say is wrong: one rule a mistake, each from the report alone.

A finding costs the site something, and its threshold says how much of it is worth a word: time
that could be saved, memory that holds nothing of use, calls that fail. What costs less is no
finding, because a false alarm is a defect like a missed fault.

:data:`finding_detected` is the signal that is sent for each new one.
"""

from django.dispatch import Signal

__all__ = ["finding_detected"]

finding_detected = Signal()
"""Sent once for each new finding, from the monitor's own thread, with ``finding``
(:class:`cache_monitor.reports.Finding`). An exception in one receiver keeps no other from
being called."""
