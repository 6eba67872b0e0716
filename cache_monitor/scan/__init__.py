"""What is in the live caches: how much, how heavy it is, what of it is stale."""
