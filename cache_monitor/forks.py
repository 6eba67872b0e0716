"""What a forked child has to begin anew."""

import os
from collections.abc import Callable


def call_in_forked_children(begin_anew: Callable[[], None]) -> None:
    """Let every child of this process that Python forks call ``begin_anew`` first. Does nothing on
    a system without forks, such as Windows."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=begin_anew)
