"""Popularity of items by time bucket as a hash table on disk, so that a look-up reads one place.

Each bucket has a stretch of slots for its items: open addressing with linear probing, three slots
for two items. A slot holds the item's hash above its code. Hashes are as distinct as the items, and
ascend within a stretch, so that a search ends at the first one that is no smaller: an item that is
not there takes no longer than one that is. The stretch is longer by the same tail in every bucket,
which takes in what probing pushes beyond the last slot and ends with an empty slot. Bucket 0 holds
nothing: its stretch is the tail alone, whose length is known from it. The numba kernel of batches
reads the same table.
"""

import numpy as np

from model.dataset.csr import offsets_of

CODE_BITS = 16
MIXER = 2_654_435_761  # Knuth's: spreads neighbouring ids; odd, so that no two share a hash
LOW_BITS = 0xFFFFFFFF
EMPTY = 2**63 - 1  # as a hash it would be larger than any


def hash_of(item):
    """The 32 bits by which an item is found; a number or an int64 array, below 2^32."""
    return item * MIXER & LOW_BITS


def home(hashed, num_slots):
    """The slot of a stretch at which probing for a hash begins; numbers or int64 arrays."""
    return hashed * num_slots >> 32


def build_table(
    buckets: np.ndarray, items: np.ndarray, codes: np.ndarray, num_buckets: int
) -> tuple[np.ndarray, np.ndarray]:
    """Make the table of M items in B buckets.

    Args:
        buckets: (M,) numbers of the buckets, 1..B, ascending.
        items: (M,) item ids from 1 on, distinct within a bucket.
        codes: (M,) int16, what is to be found; not negative.
        num_buckets: B.

    Returns:
        (B + 2,) int64, where the stretch of each bucket from 0 on begins; (S,) int64 the hash in
        each slot times 2^16, plus its code; ``EMPTY`` for none.
    """
    counts = np.bincount(buckets, minlength=num_buckets + 1)
    sizes = counts + counts // 2
    filled = np.empty(len(items), np.int64)
    places, tail = np.empty(len(items), np.int64), 1
    ends = np.cumsum(counts)
    for begin, end, size in zip(ends - counts, ends, sizes, strict=True):
        hashes = hash_of(items[begin:end].astype(np.int64))
        order, rank = np.argsort(hashes), np.arange(end - begin)
        hashes = hashes[order]
        filled[begin:end] = (hashes << CODE_BITS) + codes[begin:end][order]
        taken = np.maximum.accumulate(home(hashes, size) - rank) + rank  # the next one that is free
        places[begin:end] = taken
        tail = max(tail, int(taken.max(initial=-1)) + 2 - int(size))
    starts = offsets_of(sizes + tail)
    slots = np.full(starts[-1], EMPTY)
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
    begin, hashes = starts[buckets], hash_of(items)
    at = begin + home(hashes, starts[buckets + 1] - begin - starts[1])
    waiting = np.arange(len(at))
    while len(waiting):
        waiting = waiting[slots[at[waiting]] >> CODE_BITS < hashes[waiting]]
        at[waiting] += 1
    found = slots[at]
    is_there = found >> CODE_BITS == hashes
    return np.where(is_there, found & (1 << CODE_BITS) - 1, 0).astype(np.int16)
