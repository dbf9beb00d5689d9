"""Popularity of items by time bucket as a hash table on disk, so that a look-up reads one place.

Each bucket has a stretch of slots for its items: open addressing with linear probing, three slots
for two items. The stretch is longer by the same tail in every bucket, which takes in what probing
pushes beyond the last slot and ends with an empty slot. Bucket 0 holds nothing: its stretch is the
tail alone, whose length is known from it. The numba kernel of batches reads the same table.
"""

import numpy as np

from model.dataset.csr import offsets_of

CODE_BITS = 16
MIXER = 2_654_435_761  # Knuth's: spreads neighbouring ids
LOW_BITS = 0xFFFFFFFF


def home(item, num_slots):
    """The slot of a stretch at which probing for an item begins; numbers or int64 arrays."""
    return (item * MIXER & LOW_BITS) * num_slots >> 32


def build_table(
    buckets: np.ndarray, items: np.ndarray, codes: np.ndarray, num_buckets: int
) -> tuple[np.ndarray, np.ndarray]:
    """Make the table of M items in B buckets.

    Args:
        buckets: (M,) numbers of the buckets, 1..B, ascending.
        items: (M,) item ids from 1 on, ascending within a bucket.
        codes: (M,) int16, what is to be found; not negative.
        num_buckets: B.

    Returns:
        (B + 2,) int64, where the stretch of each bucket from 0 on begins; (S,) int64 the item in
        each slot times 2^16, plus its code; 0 for none.
    """
    counts = np.bincount(buckets, minlength=num_buckets + 1)
    sizes = counts + counts // 2
    places, tail = np.empty(len(items), np.int64), 1
    ends = np.cumsum(counts)
    for begin, end, size in zip(ends - counts, ends, sizes, strict=True):
        wanted = home(items[begin:end].astype(np.int64), size)
        order, rank = np.argsort(wanted, kind="stable"), np.arange(end - begin)
        taken = np.maximum.accumulate(wanted[order] - rank) + rank  # the next one that is free
        places[begin + order] = taken
        tail = max(tail, int(taken.max(initial=-1)) + 2 - int(size))
    starts = offsets_of(sizes + tail)
    slots = np.zeros(starts[-1], np.int64)
    filled = (items.astype(np.int64) << CODE_BITS) + codes
    slots[np.repeat(starts[:-1], counts) + places] = filled
    return starts, slots


def look_up(
    starts: np.ndarray, slots: np.ndarray, buckets: np.ndarray, items: np.ndarray
) -> np.ndarray:
    """(N,) int16 codes of N items in a bucket each, 0 where an item is not in it.

    Args:
        starts: as :func:`build_table` makes it.
        slots: likewise.
        buckets: (N,) int64, 0..B.
        items: (N,) int64 ids, 0 for none.
    """
    begin = starts[buckets]
    at = begin + home(items, starts[buckets + 1] - begin - starts[1])
    waiting = np.arange(len(at))
    while len(waiting):
        found = slots[at[waiting]]
        waiting = waiting[(found != 0) & (found >> CODE_BITS != items[waiting])]
        at[waiting] += 1
    return (slots[at] & (1 << CODE_BITS) - 1).astype(np.int16)
