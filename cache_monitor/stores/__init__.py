"""Where payloads are kept: put them, read a range of them, prune the old."""
