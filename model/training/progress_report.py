"""How a training tells where it is: a bar in a terminal, a line every ten seconds in a log."""

import logging
import sys
import time
from collections.abc import Mapping

import torch
from tqdm import tqdm

from model.progress import LOG_EVERY_SECONDS

logger = logging.getLogger("onepiece")


class ProgressReport:
    """Counts steps and tokens; shows rate, time left, losses and GPU memory."""

    def __init__(self, what: str, first_step: int, num_steps: int, *, silent: bool) -> None:
        """Begin.

        Args:
            what: is being trained.
            first_step: steps done before.
            num_steps: in all.
            silent: show nothing: another process does.
        """
        self.what, self.first_step, self.num_steps = what, first_step, num_steps
        self.started = self.shown = time.monotonic()
        self.tokens = 0
        self.silent = silent
        shows_bar = sys.stderr.isatty() and not silent
        self.bar = (
            tqdm(total=num_steps, initial=first_step, desc=what, unit="step", mininterval=0.5)
            if shows_bar
            else None
        )

    def advance(self, step: int, tokens: int, terms: Mapping[str, float]) -> None:
        """A step is finished.

        Args:
            step: steps done now.
            tokens: that it had, in this process.
            terms: the latest losses and statistics.
        """
        self.tokens += tokens
        now = time.monotonic()
        if self.bar is not None:
            self.bar.update(1)
            self.bar.set_postfix({k: f"{v:.3g}" for k, v in terms.items()}, refresh=False)
        elif not self.silent and now - self.shown >= LOG_EVERY_SECONDS:
            self.shown = now
            logger.info("%s", self._line(step, now - self.started, terms))

    def close(self) -> None:
        """End the bar."""
        if self.bar is not None:
            self.bar.close()

    def _line(self, step: int, elapsed: float, terms: Mapping[str, float]) -> str:
        done = step - self.first_step
        left = (self.num_steps - step) * elapsed / done
        shown = ", ".join(f"{name} {value:.4g}" for name, value in terms.items())
        memory = ""
        if torch.cuda.is_available():
            memory = f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB on the GPU"
        return (
            f"{self.what}: step {step:,} of {self.num_steps:,} ({done / elapsed:,.1f} steps/s, "
            f"{self.tokens / elapsed:,.0f} tokens/s, {left:,.0f} s left): {shown}{memory}"
        )
