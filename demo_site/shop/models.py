"""What the shop sells, what customers say about it, and what its magazine writes."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.urls import reverse


class Category(models.Model):
    name = models.CharField(max_length=60)
    slug = models.SlugField(unique=True)
    summary = models.CharField(max_length=200)

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("shop:category", kwargs={"slug": self.slug})


class Product(models.Model):
    category = models.ForeignKey(Category, on_delete=models.CASCADE, related_name="products")
    name = models.CharField(max_length=120)
    brand = models.CharField(max_length=60)
    description = models.TextField()
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.PositiveIntegerField(default=0)
    sold = models.PositiveIntegerField(default=0, db_index=True)
    added_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("shop:product", kwargs={"pk": self.pk})

    @property
    def average_rating(self) -> float | None:
        """Of the reviews at hand, so that a product cached with its reviews asks no database."""
        ratings = [review.rating for review in self.reviews.all()]
        return sum(ratings) / len(ratings) if ratings else None


class Review(models.Model):
    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="reviews")
    author = models.CharField(max_length=60)
    rating = models.PositiveSmallIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(5)]
    )
    text = models.TextField()
    written_at = models.DateTimeField()

    class Meta:
        ordering = ("-written_at",)

    def __str__(self) -> str:
        return f"{self.rating}/5 by {self.author}"


class Article(models.Model):
    title = models.CharField(max_length=120)
    summary = models.CharField(max_length=200)
    body = models.TextField()
    published_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ("-published_at",)

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("shop:article", kwargs={"pk": self.pk})
