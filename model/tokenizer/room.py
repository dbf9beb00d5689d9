"""Whether every item can get a semantic ID, asked before anything is trained or fitted."""

import math
from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

from model.errors import InputError
from model.tokenizer.codebook import Codebook
from model.tokenizer.published import codes_of, recognise
from model.tokenizer.sids import prefix_keys, sid_room

if TYPE_CHECKING:  # a training machine may lack pydantic
    from model.dataset.interactions import Interactions
    from model.params import CodebookParams


def require_semantic_ids(
    interactions: "Interactions", frozen: Codebook | None, params: "CodebookParams", width: int
) -> None:
    """Refuse a catalogue that cannot get semantic IDs; this needs no vectors.

    Args:
        interactions: whose items all get a vector.
        frozen: the generation to extend, None for a new one.
        params: of the codebook.
        width: of the vectors.

    Raises:
        InputError: as :func:`model.tokenizer.build.build_codebook` would.
    """
    if frozen is None:
        require_room(interactions.num_items, params, "the catalogue")
        return
    require_same_form(frozen, width, params)
    published, _ = recognise(frozen, interactions.raw_item_ids)
    is_new = (published[1:] == 0).any(axis=1)
    require_free_ids(int(is_new.sum()), codes_of(frozen.published) - 1, params)


def require_same_form(frozen: Codebook, width: int, params: "CodebookParams") -> None:
    """Refuse to extend a generation under other parameters than it was made with.

    Raises:
        InputError: codebooks of another shape, metric or method, or of vectors of another width.
    """
    if list(frozen.sizes) != list(params.sizes) or frozen.metric != params.metric:
        raise InputError(
            f"codebook.frozen_from: that generation has sizes {list(frozen.sizes)} and metric "
            f"{frozen.metric}, the parameters say {list(params.sizes)} and {params.metric}; keep "
            "those, or set frozen_from to null for a new generation"
        )
    if frozen.method != params.method:
        raise InputError(
            f"codebook.frozen_from: that generation was built by {frozen.method}, the parameters "
            f"say {params.method}; keep that one, or set frozen_from to null for a new generation"
        )
    if frozen.width != width:
        raise InputError(
            f"codebook.frozen_from: that generation was built on vectors of {frozen.width} "
            f"numbers and these have {width}; set frozen_from to null for a new generation"
        )


def has_room(num_items: int, params: "CodebookParams") -> bool:
    """Whether a new generation can hold so many items."""
    return params.reassignment == "none" or num_items <= sid_room(params.sizes) * params.capacity


def require_room(num_items: int, params: "CodebookParams", source: str) -> None:
    """Refuse a new generation that cannot hold all items.

    Raises:
        InputError: fewer semantic IDs than items that may not share one.
    """
    sizes, capacity = params.sizes, params.capacity
    room = sid_room(sizes)
    if not has_room(num_items, params):
        raise InputError(
            f"codebook.capacity: {source} has {num_items:,} items and sizes {sizes} spell "
            f"{room:,} semantic IDs of {capacity} each; raise codebook.capacity to at least "
            f"{math.ceil(num_items / room)} or codebook.sizes"
        )


def require_free_ids(num_new: int, published: np.ndarray, params: "CodebookParams") -> None:
    """Refuse an extension by more items than the generation has free places for.

    Args:
        num_new: items that need an ID.
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
