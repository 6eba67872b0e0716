"""Say what went wrong in somebody else's code without repeating what it was given."""

from pathlib import Path


def described(error: BaseException) -> str:
    """The type of ``error`` and the place that raised it.

    Not its message: a fault over a key nearly always quotes the key.
    """
    trace = error.__traceback__
    if trace is None:
        return type(error).__name__
    while trace.tb_next is not None:
        trace = trace.tb_next
    file = Path(trace.tb_frame.f_code.co_filename).name
    return f"{type(error).__name__} in {file}, line {trace.tb_lineno}"
