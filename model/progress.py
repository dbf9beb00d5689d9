"""Progress of long work: a bar in a terminal, lines in a log, silence when it is short."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

logger = logging.getLogger("onepiece")
T = TypeVar("T")

LOG_EVERY_SECONDS = 10.0
IN_BAR = "in_bar"  # attribute of a log record that a bar shows as well: not for the terminal


def track(items: Iterable[T], *, total: int | None, what: str, unit: str = "it") -> Iterator[T]:
    """Iterate with progress: rate and ETA in a terminal, or a log line every ten seconds.

    Args:
        items: what to iterate over.
        total: how many there are; None when unknown.
        what: what is being done, as the user would say it.
        unit: what one item is called.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=what, unit=unit, mininterval=0.5, delay=2.0)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= LOG_EVERY_SECONDS:
            last = now
            logger.info("%s", _line(what, done, total, now - start, unit))


def _line(what: str, done: int, total: int | None, elapsed: float, unit: str) -> str:
    rate = done / elapsed
    if total is None:
        return f"{what}: {done:,} {unit} ({rate:,.1f}/s)"
    eta = (total - done) / rate
    return f"{what}: {done:,} of {total:,} {unit} ({rate:,.1f}/s, {eta:,.0f} s left)"
