"""Whether there are semantic IDs enough, asked before anything is trained or fitted."""

import math
from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

from model.errors import InputError
from model.tokenizer.sids import prefix_keys, sid_room

if TYPE_CHECKING:  # a training machine may lack pydantic
    from model.params import CodebookParams


def require_room(num_items: int, params: "CodebookParams", source: str) -> None:
    """Refuse a new generation that cannot hold all items.

    Raises:
        InputError: fewer semantic IDs than items that may not share one.
    """
    sizes, capacity = params.sizes, params.capacity
    room = sid_room(sizes)
    if params.reassignment != "none" and num_items > room * capacity:
        raise InputError(
            f"codebook.capacity: {source} has {num_items:,} items and sizes {sizes} spell "
            f"{room:,} semantic IDs of {capacity} each; raise codebook.capacity to at least "
            f"{math.ceil(num_items / room)} or codebook.sizes"
        )


def require_free_ids(num_new: int, published: np.ndarray, params: "CodebookParams") -> None:
    """Refuse an extension by more items than the generation has free places for.

    Args:
        num_new: items that want an ID.
        published: (P, L) codes from 0; items that share an ID, however many, fill no other one.
        params: sizes, capacity and reassignment.

    Raises:
        InputError: there are too few, with the capacity that is needed.
    """
    room = sid_room(params.sizes)
    sharing = np.unique(prefix_keys(published, params.sizes), return_counts=True)[1]

    def free_places(capacity: int) -> int:
        return room * capacity - int(np.minimum(sharing, capacity).sum())

    free = free_places(params.capacity)
    if params.reassignment != "none" and num_new > free:
        enough = range(params.capacity, params.capacity + num_new + int(sharing.max(initial=0)) + 1)
        needed = enough[bisect_left(enough, num_new, key=free_places)]
        raise InputError(
            f"codebook.capacity: {num_new:,} new items need a semantic ID and {free:,} are free "
            f"({len(published):,} items are published, {room:,} IDs hold {params.capacity} each); "
            f"raise codebook.capacity to at least {needed}, or set codebook.frozen_from to null "
            "for a new generation"
        )
