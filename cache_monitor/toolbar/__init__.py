"""What the debug toolbar's panel tells of one request, without the toolbar itself."""
