"""The shop's rows in the admin, so that a visitor can change what is cached."""

from __future__ import annotations

from django.contrib import admin

from shop.models import Article, Category, Product, Review

admin.site.register([Article, Category, Product, Review])
