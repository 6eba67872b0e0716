"""A look into the live backends: what is in a cache, how heavy it is, what of it is stale."""
