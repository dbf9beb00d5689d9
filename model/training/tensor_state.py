"""Restoring of named tensors from a saved state."""

from collections.abc import Mapping

import torch
from torch import Tensor

from model.errors import InputError


@torch.no_grad()
def copy_state(source: Mapping[str, Tensor], target: Mapping[str, Tensor], what: str) -> None:
    """Copy every tensor of ``source`` into the one of the same name, in place.

    Args:
        source: as it was saved.
        target: as it is held.
        what: whose state they are, for the message.

    Raises:
        InputError: names or shapes differ; nothing has been copied then.
    """
    odd = sorted(
        name
        for name in source.keys() | target.keys()
        if name not in source or name not in target or source[name].shape != target[name].shape
    )
    if odd:
        raise InputError(
            f"the saved state of {what} is of another network: {odd[0]} (and {len(odd) - 1} more) "
            "does not fit; remove the unfinished training or use the parameters that it began with"
        )
    for name, tensor in target.items():
        tensor.copy_(source[name])
