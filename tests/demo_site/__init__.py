"""The demo site, run for real: its own process, real HTTP."""
