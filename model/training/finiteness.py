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


def not_finite(
    what: str, step: int, users: Sequence[str], kept: Path | None, *, updated: bool = False
) -> InputError:
    """Build the error for a step that is not finite, and log all users of its batch.

    Args:
        what: the training's name.
        step: from 0.
        users: raw ids of the step's rows.
        kept: the last good state, None if there is none.
        updated: whether the step's update was made, and it is the weights that are not finite.
    """
    logger.error("%s: users of the batch of step %d: %s", what, step, ", ".join(users))
    named = (
        f"first of {len(users)} users of the batch: {', '.join(users[:_NAMED_USERS])}; the log has "
        "all"
    )
    state = f"the last good state is {kept}" if kept else "no state was saved before"
    found = (
        f"weights are not numbers after the update of step {step}"
        if updated
        else f"the loss or its gradient is not a number at step {step}"
    )
    return InputError(f"{what}: {found} ({named}); {state}; {_remedy(step + updated)}")


def _remedy(updates: int) -> str:
    """The remedy to suggest after so many updates of the weights."""
    if updates == 0:
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
