"""The demo's pages, a module for each way of caching."""
