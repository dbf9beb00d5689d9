"""One independent stream of random numbers per purpose, so that no part depends on another."""

from zlib import crc32

import numpy as np


def stream(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """The generator of one purpose (and of one shard or chunk of it)."""
    key = (crc32(purpose.encode()), index)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))
