"""How a training tells where it is: a bar in a terminal, a line every ten seconds in a log."""

import logging
import sys
import time
from collections.abc import Mapping, Sequence

import torch
from tqdm import tqdm

from model.network.moe import SparseMoE
from model.progress import LOG_EVERY_SECONDS

logger = logging.getLogger("onepiece")

BAR_EVERY_SECONDS = 0.5


class ProgressReport:
    """Counts steps and tokens; shows rate, time left, losses, experts' balance and GPU memory."""

    def __init__(
        self,
        what: str,
        first_step: int,
        num_steps: int,
        experts: Sequence[SparseMoE],
        *,
        silent: bool,
    ) -> None:
        """Begin.

        Args:
            what: is being trained.
            first_step: steps done before.
            num_steps: in all.
            experts: whose balance is shown: the Gini of the least balanced layer.
            silent: show nothing: another process does.
        """
        self.what, self.first_step, self.num_steps = what, first_step, num_steps
        self.experts = experts
        self.started = self.shown = time.monotonic()
        self.tokens = 0
        self.silent = silent
        if not silent:
            logger.info("%s: %d of %d steps to go", what, num_steps - first_step, num_steps)
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
        now = time.monotonic()
        if self.bar is not None:
            self.bar.update(1)
        if step == self.first_step + 1:  # it waits for compilers: no measure for the others
            self.started = now
            return
        self.tokens += tokens
        every = LOG_EVERY_SECONDS if self.bar is None else BAR_EVERY_SECONDS
        if self.silent or now - self.shown < every:
            return
        self.shown = now
        shown = self._shown(terms)
        if self.bar is not None:
            self.bar.set_postfix(shown, refresh=False)
        else:
            logger.info("%s", self._line(step, now - self.started, shown))

    def close(self) -> None:
        """End the bar."""
        if self.bar is not None:
            self.bar.close()

    def _shown(self, terms: Mapping[str, float]) -> dict[str, str]:
        """Losses, the worst Gini, and the most GPU memory so far, as text by name."""
        shown = {name: f"{value:.4g}" for name, value in terms.items()}
        if self.experts:
            shown["gini"] = f"{max(float(layer.gini()) for layer in self.experts):.3g}"
        if torch.cuda.is_available():
            shown["GPU"] = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
        return shown

    def _line(self, step: int, elapsed: float, shown: Mapping[str, str]) -> str:
        done = step - self.first_step - 1
        left = (self.num_steps - step) * elapsed / done
        named = ", ".join(f"{name} {value}" for name, value in shown.items())
        return (
            f"{self.what}: step {step:,} of {self.num_steps:,} ({done / elapsed:,.1f} steps/s, "
            f"{self.tokens / elapsed:,.0f} tokens/s, {left:,.0f} s left): {named}"
        )
