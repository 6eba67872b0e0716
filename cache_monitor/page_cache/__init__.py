"""Why a page is or is not served from the cache: watches Django's own cache middleware."""
