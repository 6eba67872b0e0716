"""From the store's windows to one report that every face renders."""
