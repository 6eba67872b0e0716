"""Send the demo real HTTP requests, more by day than by night."""

from __future__ import annotations

import argparse
from math import inf
from time import monotonic, sleep
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from shop.crowd import Crowd, Tally
from shop.day import SECONDS, Day
from shop.models import Article, Category, Product
from shop.traffic import Choices, Visitors

PROGRESS_EVERY = 0.5
# What is later than that because the site was slow is left out, not made up for in a rush.
PATIENCE = 1.0


def positive(text: str) -> float:
    number = float(text)
    if number <= 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return number


def count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


class Command(BaseCommand):
    help = "Visit the running demo site like its customers do, until it is stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--base-url", default="http://127.0.0.1:8000", help="where it runs")
        parser.add_argument("--seconds", type=positive, default=inf, help="how long to go on")
        parser.add_argument("--rate", type=positive, default=20.0, help="requests a second at most")
        parser.add_argument("--visitors", type=count, default=4, help="how many at once")
        parser.add_argument("--day", type=positive, default=SECONDS, help="seconds of a day")
        parser.add_argument("--hour", type=float, default=7.0, help="the hour that it begins with")
        parser.add_argument("--seed", type=int, default=7, help="the same seed, the same visits")
        parser.add_argument("--wait", type=float, default=30.0, help="seconds for it to answer")

    def handle(self, *_args: Any, **options: Any) -> None:
        visitors = Visitors(popular_first(), options["seed"])
        crowd = Crowd(options["base_url"], options["visitors"])
        try:
            if not crowd.wait_until_served(options["wait"]):
                raise CommandError(f"No answer from {options['base_url']}.")
            self.send(visitors, crowd, options)
        except KeyboardInterrupt:
            self.stdout.write("\nStopped.")
        finally:
            crowd.close()
        self.write_summary(crowd.tally)

    def send(self, visitors: Visitors, crowd: Crowd, options: dict[str, Any]) -> None:
        day = Day(options["day"], options["hour"])
        began = next_progress = monotonic()
        due = 0.0
        for visit in visitors:
            elapsed = monotonic() - began
            due = max(due, elapsed - PATIENCE)
            if max(due, elapsed) >= options["seconds"]:
                break
            sleep(max(0.0, due - elapsed))
            crowd.send(visit)
            due += 1 / (options["rate"] * day.share(due))
            if options["verbosity"] and monotonic() >= next_progress:
                self.write_progress(crowd.tally, monotonic() - began)
                next_progress = monotonic() + PROGRESS_EVERY

    def write_progress(self, tally: Tally, elapsed: float) -> None:
        line = (
            f"{tally.requests} requests, {tally.requests / max(elapsed, 0.001):.1f}/s, "
            f"{tally.failures} errors"
        )
        self.stdout.write(f"\r{line:<70}", ending="")
        self.stdout.flush()

    def write_summary(self, tally: Tally) -> None:
        self.stdout.write(f"\n{tally.requests} requests, {tally.failures} errors")
        for page, count in tally.pages.most_common():
            self.stdout.write(f"  {count:>6}  {page}")
        for error, count in tally.errors.most_common():
            self.stdout.write(self.style.ERROR(f"  {count:>6}  {error}"))


def popular_first() -> Choices:
    choices = Choices(
        products=list(Product.objects.order_by("-sold", "pk").values_list("pk", flat=True)),
        categories=list(Category.objects.order_by("pk").values_list("slug", flat=True)),
        articles=list(Article.objects.values_list("pk", flat=True)),
    )
    if not (choices.products and choices.categories and choices.articles):
        raise CommandError("The shop is empty. Run demo_seed first.")
    return choices
