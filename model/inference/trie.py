"""The semantic IDs that may be generated: a trie in CSR arrays, and the items behind each ID.

Level l (0-based) holds the distinct prefixes of l + 1 codes, sorted; the children of a node are
contiguous in the next level, and the items of a leaf are contiguous in ``items``. So "all legal
continuations" is a slice, and nothing else can be generated.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.dataset.csr import offsets_of
from model.errors import InputError


@dataclass(frozen=True)
class Trie:
    """Legal semantic IDs.

    Attributes:
        prefixes: per level l, (n_l, l + 1) int64 codes, 1-based, lexicographically sorted.
        child_offsets: per level but the last, (n_l + 1,) int64 into the nodes of the next level.
        item_offsets: (num_sids + 1,) int64 into ``items``.
        items: (num_items,) int64, the rows given to :func:`build_trie`, leaf by leaf.
    """

    prefixes: tuple[Tensor, ...]
    child_offsets: tuple[Tensor, ...]
    item_offsets: Tensor
    items: Tensor

    @property
    def num_levels(self) -> int:
        return len(self.prefixes)

    @property
    def num_sids(self) -> int:
        return len(self.prefixes[-1])

    def to(self, device: torch.device) -> "Trie":
        """Copy to a device."""
        return Trie(
            tuple(codes.to(device) for codes in self.prefixes),
            tuple(offsets.to(device) for offsets in self.child_offsets),
            self.item_offsets.to(device),
            self.items.to(device),
        )


def build_trie(codes: np.ndarray, *, priority: np.ndarray) -> Trie:
    """Index the semantic IDs of the allowed items.

    Args:
        codes: (N, levels) 1-based codes of the allowed items; a row with a 0 has no semantic ID
            and cannot be generated.
        priority: (N,) items of one semantic ID are listed by descending priority, then by row.

    Returns:
        A trie whose ``items`` are row numbers of ``codes``.

    Raises:
        InputError: no row has a semantic ID.
    """
    rows = np.flatnonzero((codes > 0).all(axis=1))
    if len(rows) == 0:
        raise InputError(
            "none of the items that may be recommended has a semantic ID; check the candidate set "
            "and cascade.filter_cold, or build the codebook again"
        )
    order = np.lexsort((rows, -priority[rows], *codes[rows].T[::-1]))
    rows = rows[order]
    sorted_codes = codes[rows].astype(np.int64)
    differs = sorted_codes[1:] != sorted_codes[:-1]
    prefixes, child_offsets = [], []
    parents = np.zeros(len(rows), np.int64)  # node of the level above, per item
    for level in range(codes.shape[1]):
        is_first = np.concatenate([[True], differs[:, : level + 1].any(axis=1)])
        first = np.flatnonzero(is_first)
        prefixes.append(torch.from_numpy(sorted_codes[first, : level + 1]))
        if level > 0:
            children = np.bincount(parents[first], minlength=len(prefixes[-2]))
            child_offsets.append(torch.from_numpy(offsets_of(children)))
        parents = np.cumsum(is_first) - 1
    counts = np.bincount(parents, minlength=len(prefixes[-1]))
    item_offsets = torch.from_numpy(offsets_of(counts))
    return Trie(tuple(prefixes), tuple(child_offsets), item_offsets, torch.from_numpy(rows))
