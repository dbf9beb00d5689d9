"""Progress of a training: a bar in a terminal, a line every ten seconds in a log."""

import logging
import re
import sys
import time
from collections.abc import Mapping, Sequence

import torch
from tqdm import tqdm

from model.network.moe import SparseMoE
from model.progress import LOG_EVERY_SECONDS

logger = logging.getLogger("onepiece")

BAR_EVERY_SECONDS = 0.5
_PLACE = re.compile(r": step [\d,]+ of [\d,]+ \(")


def is_in_bar(line: str) -> bool:
    """Whether a log line repeats what the bar of a terminal shows."""
    return _PLACE.search(line) is not None


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
            what: the training's name.
            first_step: steps done before.
            num_steps: in all.
            experts: whose balance is shown: the Gini of the least balanced layer.
            silent: show nothing, as another process does.
        """
        self.what, self.first_step, self.num_steps = what, first_step, num_steps
        self.experts = experts
        self.begun = self.measured_since = self.newest = time.monotonic()
        self.in_bar = self.in_log = self.begun  # when each was last updated
        self.measured_from = self.step = self.logged = first_step
        self.tokens = 0
        self.terms: Mapping[str, float] = {}
        self.silent = silent
        if not silent:
            logger.info("%s: %d of %d steps to go", what, num_steps - first_step, num_steps)
        shows_bar = sys.stderr.isatty() and not silent
        self.bar = (
            tqdm(total=num_steps, initial=first_step, desc=what, unit="step", mininterval=0.5)
            if shows_bar
            else None
        )
        # Where the log is the same terminal, its lines would break the bar and add nothing.
        self.logs = not silent and not (shows_bar and sys.stdout.isatty())

    def advance(self, step: int, tokens: int, terms: Mapping[str, float]) -> None:
        """Report a finished step.

        Args:
            step: steps done now.
            tokens: that it had, over all processes.
            terms: the latest losses and statistics.
        """
        if step == self.first_step + 2:  # rates exclude the first, which includes compilation
            self.measured_since, self.measured_from, self.tokens = self.newest, step - 1, 0
        now = self.newest = time.monotonic()
        self.step, self.terms = step, terms
        self.tokens += tokens
        if self.bar is not None:
            self.bar.update(1)
            if now - self.in_bar >= BAR_EVERY_SECONDS:
                self.in_bar = now
                self.bar.set_postfix(self._shown(), refresh=False)
        if self.logs and now - self.in_log >= LOG_EVERY_SECONDS and step > self.first_step + 1:
            self.in_log = now
            left = (self.num_steps - step) / self._per_second(step - self.measured_from)
            self._log(f"{left:,.0f} s left")

    def validated(self, step: int, figures: Mapping[str, float]) -> None:
        """Report a validation.

        Args:
            step: steps done then.
            figures: measures by name.
        """
        if self.silent:
            return
        if self.bar is not None:  # make room for the line, and do not draw over it at once
            self.bar.clear()
            self.bar.unpause()
        named = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        logger.info("%s: validation after step %s: %s", self.what, f"{step:,}", named)

    def close(self) -> None:
        """Close the bar, and log the final progress of even the shortest run."""
        if self.bar is not None:
            self.bar.set_postfix(self._shown())
            self.bar.close()
        if self.logs and self.step > self.logged:
            self._log(f"after {self.newest - self.begun:,.0f} s")

    def _shown(self) -> dict[str, str]:
        """Losses, the worst Gini, and the most GPU memory so far, as text by name."""
        shown = {name: f"{value:.4g}" for name, value in self.terms.items()}
        if self.experts:
            shown["gini"] = f"{max(float(layer.gini()) for layer in self.experts):.3g}"
        if torch.cuda.is_available():
            shown["GPU"] = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
        return shown

    def _log(self, time_said: str) -> None:
        self.logged = self.step
        named = ", ".join(f"{name} {value}" for name, value in self._shown().items())
        steps = self._per_second(self.step - self.measured_from)
        logger.info(
            "%s",
            f"{self.what}: step {self.step:,} of {self.num_steps:,} ({steps:,.1f} steps/s, "
            f"{self._per_second(self.tokens):,.0f} tokens/s, {time_said}): {named}",
        )

    def _per_second(self, count: int) -> float:
        return count / max(self.newest - self.measured_since, 1e-9)
