"""Send the demo real HTTP requests for a while."""

from __future__ import annotations

import argparse
from time import monotonic, sleep
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from shop.models import Article, Category, Product
from shop.traffic import Browser, Choices, Tally, Visitors

PROGRESS_EVERY = 0.5


def positive(text: str) -> float:
    number = float(text)
    if number <= 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return number


class Command(BaseCommand):
    help = "Visit the running demo site like its customers do, for a while."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--base-url", default="http://127.0.0.1:8000", help="where it runs")
        parser.add_argument("--seconds", type=positive, default=600.0, help="how long to go on")
        parser.add_argument("--rate", type=positive, default=10.0, help="requests a second at most")
        parser.add_argument("--seed", type=int, default=7, help="the same seed, the same visits")
        parser.add_argument("--wait", type=float, default=30.0, help="seconds for it to answer")

    def handle(self, *_args: Any, **options: Any) -> None:
        visitors = Visitors(popular_first(), options["seed"])
        browser = Browser(options["base_url"])
        tally = Tally()
        try:
            if not browser.wait_until_served(options["wait"]):
                raise CommandError(f"No answer from {options['base_url']}.")
            self.send(visitors, browser, tally, options)
        except KeyboardInterrupt:
            self.stdout.write("\nStopped.")
        finally:
            browser.close()
        self.write_summary(tally)

    def send(
        self, visitors: Visitors, browser: Browser, tally: Tally, options: dict[str, Any]
    ) -> None:
        began = monotonic()
        next_progress = began
        for sent, visit in enumerate(visitors):
            due = began + sent / options["rate"]
            if due >= began + options["seconds"] or monotonic() >= began + options["seconds"]:
                break
            sleep(max(0.0, due - monotonic()))
            tally.add(visit, browser.send(visit))
            if options["verbosity"] and monotonic() >= next_progress:
                self.write_progress(tally, monotonic() - began, options["seconds"])
                next_progress = monotonic() + PROGRESS_EVERY

    def write_progress(self, tally: Tally, elapsed: float, seconds: float) -> None:
        line = (
            f"{tally.requests} requests, {tally.requests / max(elapsed, 0.001):.1f}/s, "
            f"{tally.failures} errors, {max(0, seconds - elapsed):.0f} s to go"
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
