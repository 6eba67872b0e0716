"""The data of the debug toolbar's panel for one request, without the toolbar itself."""
