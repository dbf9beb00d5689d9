"""The learning rate over a run, as a share of its peak."""

import math
from typing import Literal

DECAY_SHARE = 0.2  # of all steps, at the end of ``constant_decay``


def learning_rate_factor(
    step: int,
    total_steps: int,
    warmup_share: float,
    kind: Literal["cosine", "constant_decay"],
) -> float:
    """The factor of the peak learning rate at a step.

    Both rise linearly and reach 1 at the last step of the warm-up. ``cosine`` then falls along
    half a cosine towards 0 after the last step; ``constant_decay`` stays at 1 and falls linearly
    over the last fifth of all steps.

    Args:
        step: 0 for the first one.
        total_steps: of the run.
        warmup_share: of ``total_steps``.
        kind: what follows the warm-up.

    Returns:
        In [0, 1]; 0 from ``total_steps`` on.
    """
    if step >= total_steps:
        return 0.0
    warmup_steps = round(warmup_share * total_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if kind == "cosine":
        progress = (step - warmup_steps) / (total_steps - warmup_steps)
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    return min(1.0, (total_steps - step) / (DECAY_SHARE * total_steps))
