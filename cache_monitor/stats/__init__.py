"""Statistics as plain Python: no Django, fixed in memory, mergeable without loss of counts."""
