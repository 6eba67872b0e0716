"""Caches as they evict, simulated, one model for each policy."""
