"""Embedding tables: row 0 is padding and stays zero; large ones give sparse gradients."""

from collections.abc import Mapping

import torch
from torch import nn

from model.network.sharded_table import sharded

SPARSE_FROM_ROWS = 10_000  # below it a dense update is cheaper than finding the touched rows
INITIAL_SPREAD = 0.02


def embedding_table(num_codes: int, width: int, *, zero: bool = False) -> nn.Embedding:
    """A table for the codes 0..num_codes.

    Args:
        num_codes: the largest code.
        width: of a row.
        zero: start at zero, so that a row never seen in training contributes nothing.
    """
    table = nn.Embedding(
        num_codes + 1, width, padding_idx=0, sparse=num_codes + 1 >= SPARSE_FROM_ROWS
    )
    if zero:
        nn.init.zeros_(table.weight)
    else:
        nn.init.normal_(table.weight, std=INITIAL_SPREAD)
        with torch.no_grad():
            table.weight[0].zero_()
    return sharded(table)


def feature_key(name: str) -> str:
    """A feature's name as a module's name: ``type`` or ``a.b`` would not be allowed.

    Distinct names get distinct keys: no name has a slash (``model.dataset.features.FEATURE_NAME``).
    """
    return f"feature_{name.replace('.', '/')}"


def feature_tables(vocabulary_sizes: Mapping[str, int], width: int) -> nn.ModuleDict:
    """One table per feature, under :func:`feature_key` of its name."""
    return nn.ModuleDict(
        {feature_key(name): embedding_table(size, width) for name, size in vocabulary_sizes.items()}
    )
