"""A Celery application with a task that makes calls on a cache; its broker is a directory."""

import os
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django
from celery import Celery

django.setup()

_queue = Path(os.environ["CACHE_MONITOR_TEST_VAR"]) / "queue"
_queue.mkdir(parents=True, exist_ok=True)

app = Celery("tests.programs.tasks")
app.conf.update(
    broker_url="filesystem://",
    broker_transport_options={
        "data_folder_in": str(_queue),
        "data_folder_out": str(_queue),
        "control_folder": str(_queue / "control"),
    },
    task_ignore_result=True,
    worker_hijack_root_logger=False,
)


@app.task(name="work")  # type: ignore[untyped-decorator]
def work(calls: int) -> None:
    """Make ``calls`` calls on the default cache, and say that they are made."""
    from django.core.cache import cache

    for n in range(calls // 2):
        cache.set(f"key:{n % 50}", n)
        cache.get(f"key:{n % 50}")
    (_queue.parent / f"done-{os.getpid()}-{os.urandom(4).hex()}").touch()


if __name__ == "__main__":
    for _ in range(10):
        work.delay(100)
