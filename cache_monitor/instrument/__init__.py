"""Instruments the caches in place: their methods, once, for the instances that Django made."""
