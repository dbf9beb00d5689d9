"""What a training that is no number any more says when it stops."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from model.errors import InputError

logger = logging.getLogger("onepiece")

_NAMED_USERS = 10


def all_finite(*values: Tensor) -> bool:
    """Whether every one of them is a number."""
    return all(bool(torch.isfinite(value).all()) for value in values)


def not_finite(what: str, step: int, users: Sequence[str], kept: Path | None) -> InputError:
    """The refusal to go on from a step, with what to do; the log gets all users of the batch.

    Args:
        what: is trained.
        step: from 0, whose update has not been made.
        users: raw ids of the step's rows.
        kept: the last good state, None where there is none.
    """
    logger.error("%s: users of the batch of step %d: %s", what, step, ", ".join(users))
    named = (
        f"first of {len(users)} users of the batch: {', '.join(users[:_NAMED_USERS])}; the log has "
        "all"
    )
    state = f"the last good state is {kept}" if kept else "no state was kept before"
    return InputError(
        f"{what}: the loss or its gradient is not a number at step {step} ({named}); {state}; "
        f"{_remedy(step)}"
    )


def _remedy(step: int) -> str:
    """What may help; nothing has moved before step 0."""
    if step == 0:
        return (
            "no learning rate has been at work yet: change the one of loss.temperature, "
            "loss.infonce_weight, loss.sid_weights, loss.action_weights and "
            "network.feed_forward.balance_loss_weight that is far too small or too large, and "
            "run the same command again"
        )
    return (
        "lower optimizer.muon_lr, adamw_lr or embedding_lr and run the same command again: "
        "with other parameters it starts from the first step"
    )
