"""The error with which a training stops when its loss or gradient is not finite."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from model.errors import InputError

logger = logging.getLogger("onepiece")

_NAMED_USERS = 10


def all_finite(*values: Tensor) -> bool:
    """Whether all values are finite."""
    return all(bool(torch.isfinite(value).all()) for value in values)


def not_finite(what: str, step: int, users: Sequence[str], kept: Path | None) -> InputError:
    """Build the error for a step that is not finite, and log all users of its batch.

    Args:
        what: the training's name.
        step: from 0, whose update has not been made.
        users: raw ids of the step's rows.
        kept: the last good state, None if there is none.
    """
    logger.error("%s: users of the batch of step %d: %s", what, step, ", ".join(users))
    named = (
        f"first of {len(users)} users of the batch: {', '.join(users[:_NAMED_USERS])}; the log has "
        "all"
    )
    state = f"the last good state is {kept}" if kept else "no state was saved before"
    return InputError(
        f"{what}: the loss or its gradient is not a number at step {step} ({named}); {state}; "
        f"{_remedy(step)}"
    )


def _remedy(step: int) -> str:
    """The remedy to suggest; before step 0 no weight has been updated."""
    if step == 0:
        return (
            "no learning rate has had an effect yet: change whichever of loss.temperature, "
            "loss.infonce_weight, loss.sid_weights, loss.action_weights and "
            "network.feed_forward.balance_loss_weight is far too small or too large, and "
            "run the same command again"
        )
    return (
        "lower optimizer.muon_lr, adamw_lr or embedding_lr and run the same command again: "
        "with other parameters it starts from the first step"
    )
