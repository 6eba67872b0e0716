"""The gallery's URLs."""

from __future__ import annotations

from django.urls import path

from gallery import views

app_name = "gallery"

urlpatterns = [
    path("", views.gallery, name="gallery"),
    path("<slug:code>/", views.fault, name="fault"),
    path("<slug:code>/commit/", views.commit, name="commit"),
]
