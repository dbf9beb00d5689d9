"""Slow, readable versions of the compiled algorithms."""

from collections import Counter, defaultdict

import numpy as np

_MASK = 2**64 - 1


def mixed(number: int) -> int:
    """SplitMix64."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
    return number ^ (number >> 31)


def paper(
    prefixes: list[int],
    codes: list[int],
    lists: list[list[int]],
    num_codes: int,
    capacity: int,
    seed: int,
) -> list[int]:
    """Item by item: keep, else the first free of the list, else any other."""
    taken: Counter[tuple[int, int]] = Counter()
    placed = []
    for item, (prefix, code) in enumerate(zip(prefixes, codes, strict=True)):
        if taken[prefix, code] >= capacity:
            for near in lists[code]:
                if taken[prefix, near] < capacity:
                    code = near
                    break
            else:
                draw = mixed((mixed(seed) + item) & _MASK) % (num_codes - 1)
                code = (code + 1 + draw) % num_codes
        taken[prefix, code] += 1
        placed.append(code)
    return placed


def exact(
    prefixes: np.ndarray,
    codes: np.ndarray,
    distances: np.ndarray,
    centroids: np.ndarray,
    residuals: np.ndarray,
    capacity: int,
    looked_at: int,
) -> np.ndarray:
    """The nearest keep their code; the others, nearest first, take the best of the free ones."""
    by_prefix = defaultdict(list)
    for item in np.lexsort((np.arange(len(codes)), distances)):
        by_prefix[prefixes[item]].append(item)
    placed = codes.copy()
    for items in by_prefix.values():
        taken: Counter[int] = Counter()
        moving = []
        for item in items:
            if taken[codes[item]] < capacity:
                taken[codes[item]] += 1
            else:
                moving.append(item)
        for item in moving:
            away = np.square(centroids - centroids[codes[item]]).sum(axis=1)
            free = [k for k in np.argsort(away, kind="stable") if taken[k] < capacity]
            costs = [np.square(residuals[item] - centroids[k]).sum() for k in free[:looked_at]]
            placed[item] = free[int(np.argmin(costs))]
            taken[placed[item]] += 1
    return placed
