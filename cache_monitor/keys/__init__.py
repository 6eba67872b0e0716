"""What a cache key is called on a screen: its masked text, its group and its kind."""
