"""The shop's rows: made up, believable, and the same on every machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from django.db import transaction
from django.utils.text import slugify

from shop.models import Article, Category, Product, Review

SEED = 20_261
PRODUCT_COUNT = 2_000
REVIEW_COUNT = 6_000
ARTICLE_COUNT = 120
NEWEST_DAY = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)

CATEGORIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "Kitchen": ("Pans, boards and knives for every day.", ("Pan", "Board", "Knife", "Kettle")),
    "Table": ("Plates, bowls and glasses.", ("Plate", "Bowl", "Carafe", "Tumbler")),
    "Lighting": ("Lamps for reading and for dinner.", ("Lamp", "Lantern", "Pendant", "Sconce")),
    "Bedroom": ("Linen, blankets and pillows.", ("Blanket", "Pillow", "Duvet", "Sheet")),
    "Bath": ("Towels, soap and what holds them.", ("Towel", "Soap Dish", "Mat", "Robe")),
    "Garden": ("Tools and pots for outdoors.", ("Trowel", "Planter", "Watering Can", "Rake")),
    "Office": ("For a desk that stays tidy.", ("Desk Tray", "Notebook", "Pen Pot", "Clock")),
    "Storage": ("Boxes, baskets and hooks.", ("Basket", "Box", "Hook Rail", "Shelf")),
    "Travel": ("Bags and bottles for the road.", ("Backpack", "Bottle", "Wash Bag", "Wallet")),
    "Cycling": ("Gear for the daily ride.", ("Pannier", "Bell", "Saddle", "Rain Cape")),
    "Children": ("Toys that outlast a childhood.", ("Puzzle", "Kite", "Blocks", "Pull Cart")),
    "Workshop": ("Tools worth repairing.", ("Hammer", "Chisel", "Folding Rule", "Apron")),
}
FIRST_CATEGORY_SLUG = slugify(next(iter(CATEGORIES)))

MATERIALS = (
    "Oak", "Walnut", "Linen", "Wool", "Copper", "Steel", "Stoneware", "Glass", "Cork", "Canvas",
    "Brass", "Bamboo", "Leather", "Enamel", "Cotton",
)  # fmt: skip
STYLES = (
    "Plain", "Small", "Large", "Round", "Folding", "Striped", "Everyday", "Winter", "Classic",
    "Low", "Tall", "Double", "Travel", "Nordic", "Harbour",
)  # fmt: skip
BRANDS = (
    "Alder & Finch", "Brightwell", "Casa Lume", "Dunmore", "Eastquay", "Fjordhus", "Greycoat",
    "Holm & Daughters", "Inkberry", "Juniper Works",
)  # fmt: skip
FIRST_NAMES = (
    "Ada", "Ben", "Chloé", "Dmitri", "Elif", "Farah", "Gus", "Hana", "Ivo", "Jun", "Kofi", "Lena",
    "Mira", "Noor", "Ola", "Pia", "Quentin", "Rosa", "Sven", "Tuva", "Uma", "Vera", "Wen", "Yara",
)  # fmt: skip
SELLING_POINTS = (
    "Made in small batches by people who use it themselves.",
    "It ages well, and every part of it can be replaced.",
    "Light enough to carry, sturdy enough to forget about.",
    "Wipe it clean, let it dry, and it will be there next year.",
    "The shape has not changed in thirty years, for good reason.",
    "Comes in a plain box without plastic.",
)
OPINIONS = {
    1: ("Broke within a week.", "Not what the picture shows.", "Sent it back."),
    2: ("Smaller than I thought.", "Fine, but not at this price.", "Arrived with a scratch."),
    3: ("Does what it should.", "Good, though the colour is off.", "Neither good nor bad."),
    4: ("Very solid.", "Would buy it again.", "Lovely, only the parcel came late."),
    5: ("Perfect.", "The best one I have had.", "Bought a second one for my sister."),
}
RATING_WEIGHTS = (4, 6, 15, 35, 40)
ARTICLE_SUBJECTS = (
    "How we choose", "Repairing", "A day with the makers of", "Five rules for", "The long life of",
    "What we learned about",
)  # fmt: skip


def is_seeded() -> bool:
    return Product.objects.exists()


@transaction.atomic
def seed() -> None:
    random = Random(SEED)
    categories = Category.objects.bulk_create(
        Category(name=name, slug=slugify(name), summary=summary)
        for name, (summary, _) in CATEGORIES.items()
    )
    products = Product.objects.bulk_create(
        make_product(random, categories) for _ in range(PRODUCT_COUNT)
    )
    Review.objects.bulk_create(make_review(random, products) for _ in range(REVIEW_COUNT))
    Article.objects.bulk_create(make_article(random, number) for number in range(ARTICLE_COUNT))


def make_product(random: Random, categories: list[Category]) -> Product:
    category = random.choice(categories)
    _, nouns = CATEGORIES[category.name]
    return Product(
        category=category,
        name=f"{random.choice(STYLES)} {random.choice(MATERIALS)} {random.choice(nouns)}",
        brand=random.choice(BRANDS),
        description=" ".join(random.sample(SELLING_POINTS, k=3)),
        price=Decimal(random.randint(490, 18_900)) / 100,
        stock=max(0, random.randint(-20, 200)),
        sold=int(random.paretovariate(1.1) * 10),
        added_at=NEWEST_DAY - timedelta(minutes=random.randrange(60 * 24 * 700)),
    )


def make_review(random: Random, products: list[Product]) -> Review:
    (rating,) = random.choices(tuple(OPINIONS), weights=RATING_WEIGHTS)
    product = random.choice(products)
    return Review(
        product=product,
        author=f"{random.choice(FIRST_NAMES)} {random.choice('ABDEFGHKLMNPRSTVW')}.",
        rating=rating,
        text=random.choice(OPINIONS[rating]),
        written_at=NEWEST_DAY - timedelta(minutes=random.randrange(60 * 24 * 300)),
    )


def make_article(random: Random, number: int) -> Article:
    material = random.choice(MATERIALS).lower()
    return Article(
        title=f"{random.choice(ARTICLE_SUBJECTS)} {material}",
        summary=random.choice(SELLING_POINTS),
        body="\n\n".join(" ".join(random.sample(SELLING_POINTS, k=4)) for _ in range(5)),
        published_at=NEWEST_DAY - timedelta(days=number * 3),
    )
