"""One round of bounded search, a block of vectors at a time; see ``model.tokenizer.bounds``.

The distance to a vector's own centroid is recomputed, those to all others are bounded from below. A
block goes through group after group, so that a tile is read once for all vectors that need it.
"""

import numpy as np
from numba import prange

from model.compiled import compiled
from model.tokenizer.tiles import LANES, ROWS, first_lane, lowest, score_rows

BLOCK_ROWS = 128  # with their bounds they stay in the cache
_EPSILON = np.float32(2.0**-23)
_SHRUNK = np.float32(1.0 - 2.0**-22)  # more than a subtraction rounds away
_NOT_YET = np.int32(2**31 - 1)


@compiled(parallel=True)
def refine(
    vectors: np.ndarray,
    centroids: np.ndarray,
    tiles: np.ndarray,
    members: np.ndarray,
    groups: np.ndarray,
    drifts: np.ndarray,
    lower: np.ndarray,
    codes: np.ndarray,
) -> None:  # pragma: no cover
    """Move codes to the nearest centroid; ``lower`` and ``codes`` change in place.

    Args:
        vectors: (n, width) float32.
        centroids: (K, width) float32.
        tiles: (T, (1 + width) * LANES) float32, as many for every group.
        members: (T, LANES) int32 centroids in the tiles.
        groups: (K,) int32 group of each centroid.
        drifts: (G,) float32, at least what any centroid of the group moved since the last time.
        lower: (ceil(n / BLOCK_ROWS), G, BLOCK_ROWS) float32, at most the distance to any centroid
            of the group but the vector's own; -inf where nothing is known.
        codes: (n,) int32.
    """
    reach = _longest(centroids)
    for number in prange(len(lower)):
        block = np.int64(number)
        rows = slice(block * BLOCK_ROWS, min(len(vectors), (block + 1) * BLOCK_ROWS))
        norms, rounding, upper = _measure(vectors[rows], centroids, codes[rows], reach)
        is_open = _loosen(lower[block], drifts, upper)
        known = norms, norms - rounding, upper
        _compare(vectors[rows], known, is_open, tiles, members, groups, lower[block], codes[rows])


@compiled()
def _longest(centroids: np.ndarray) -> np.float32:  # pragma: no cover
    """The largest norm; a loop, since a sum over an axis takes numba seconds to compile."""
    longest = np.float32(0.0)
    for centroid in centroids:
        square = np.float32(0.0)
        for number in centroid:
            square += number * number
        longest = max(longest, square)
    return np.sqrt(longest)


@compiled(fastmath=True)
def _measure(
    vectors: np.ndarray, centroids: np.ndarray, codes: np.ndarray, reach: np.float32
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # pragma: no cover
    """Squared norms, rounding errors of squared distances, and upper bounds to the own centroid.

    The error is that of a dot product. The upper bounds allow for it twice, once for each of two
    compared scores, so that no centroid that is ruled out could have had the lower score.
    """
    count, width = vectors.shape
    norms, rounding = np.empty(count, np.float32), np.empty(count, np.float32)
    upper = np.empty(count, np.float32)
    for i in range(count):
        vector, own = vectors[i], centroids[codes[i]]
        norm, distance = np.float32(0.0), np.float32(0.0)
        for j in range(width):
            norm += vector[j] * vector[j]
            distance += (vector[j] - own[j]) * (vector[j] - own[j])
        norms[i] = norm
        rounding[i] = np.float32(width + 8) * _EPSILON * (np.sqrt(norm) + reach) ** 2
        upper[i] = np.sqrt(distance + np.float32(4.0) * rounding[i])
    return norms, rounding, upper


@compiled()
def _loosen(
    lower: np.ndarray, drifts: np.ndarray, upper: np.ndarray
) -> np.ndarray:  # pragma: no cover
    """Lower the bounds by the drifts; returns which vectors have a group not ruled out by them."""
    is_open = np.zeros(len(upper), np.bool_)
    for group in range(len(drifts)):
        of_group, drift = lower[group], drifts[group]
        for i in range(len(upper)):
            of_group[i] = (of_group[i] - drift) * _SHRUNK
            is_open[i] |= of_group[i] <= upper[i]
    return is_open


@compiled()
def _compare(
    vectors, known, is_open, tiles, members, groups, lower, codes
) -> None:  # pragma: no cover
    """Score the groups that are not ruled out, and the own group for a score to compare with.

    The loops pass arrays and indices: creating a view takes as long as a score.
    """
    norms, floors, upper = known
    own = groups[codes]
    per_group = len(tiles) // len(lower)
    best, found = (upper * upper - norms) / np.float32(2.0), np.full(len(codes), _NOT_YET)
    asking, scores = np.empty(len(codes) + ROWS, np.int64), np.empty((ROWS, LANES), np.float32)
    for group in range(len(lower)):
        count = _who_asks(is_open, lower[group], upper, own, group, asking)
        for tile in range(group * per_group, (group + 1) * per_group):
            for first in range(0, count, ROWS):
                score_rows(vectors, asking[first : first + ROWS], tiles[tile], scores)
                for row in range(min(ROWS, count - first)):
                    i = asking[first + row]
                    least = lowest(scores[row])
                    if least <= best[i]:
                        least = _prefer(
                            scores, row, members, tile, groups, i, floors, best, found, lower
                        )
                    lower[group, i] = min(lower[group, i], _distance(floors[i], least))
    for i in range(len(codes)):
        if found[i] != _NOT_YET:
            codes[i] = found[i]


@compiled()
def _who_asks(is_open, lower, upper, own, group, asking) -> int:  # pragma: no cover
    """List the vectors to compare with a group, padded with the last, and reset their bounds."""
    count = 0
    for i in range(len(upper)):
        asking[count] = i
        count += is_open[i] & ((lower[i] <= upper[i]) | (own[i] == group))
    for position in range(count):
        lower[asking[position]] = np.inf
    asking[count : count + ROWS] = asking[max(count - 1, 0)]
    return count


@compiled(inline="always")  # a tenth faster than a call
def _prefer(
    scores, row, members, tile, groups, i, floors, best, found, lower
) -> np.float32:  # pragma: no cover
    """Take the best score of a tile, ties by number; returns the best of the remaining ones."""
    least = lowest(scores[row])
    lane = first_lane(scores[row], least)
    if least == best[i] and found[i] < members[tile, lane]:
        return least
    if found[i] != _NOT_YET:
        old = groups[found[i]]
        lower[old, i] = min(lower[old, i], _distance(floors[i], best[i]))
    best[i], found[i] = least, members[tile, lane]
    scores[row, lane] = np.inf
    return lowest(scores[row])


@compiled()
def _distance(floor: np.float32, score: np.float32) -> np.float32:  # pragma: no cover
    return np.sqrt(max(floor + np.float32(2.0) * score, np.float32(0.0)))
