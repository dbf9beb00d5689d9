"""The numba kernels of HSTU attention; :mod:`model.network.attention_cpu` calls them.

Importing this needs numba.
"""

import numpy as np
from numba import njit, prange

from model.compiled import compiled
from model.network.attention_tiles import (
    KEY_TILE,
    columns_times,
    copy_panels,
    copy_rows,
    multiply_panels,
    rows_times,
    whole_vectors,
    write_rows,
)
from model.network.kernel_options import KERNEL
from model.network.tile_product import LANES, PANEL, ROWS
from model.network.vector_math import sigmoid, silu, silu_backward

MAX_LOTS = 32  # tasks: enough to balance many cores, few enough to sum their gradients
BLOCK = 2 * ROWS  # queries at once
TIME_SUMS = 4  # per bucket: neighbouring keys share one and would wait for each other


@compiled(parallel=True, **KERNEL)
def attend(workers, tensors, rows, biases, size, scale, activate):
    """Forward.

    Args:
        workers: threads that share the tasks.
        tensors: q, k, v and out, each (memory, token stride, head stride) of (T, H, E).
        rows: offsets (B + 1,), rows by length (B,), bucket offsets (B,), time buckets.
        biases: position (H, L + LANES) from the largest distance on, and time (H, N).
        size: E.
        scale: of the scores, in the dtype of q.
        activate: whether to apply SiLU first to q, k and v, whose heads lie side by side.
    """
    q, k, v, out = tensors  # prange takes no nested tuples
    for worker in prange(workers):
        own, all_of_them = np.int64(worker), (q, k, v, out)
        _attend_tasks(own, workers, all_of_them, rows, biases, size, scale, activate)


@compiled(parallel=True, **KERNEL)
def attend_backward(workers, tensors, rows, biases, sums, size, scale, activate):
    """Backward.

    Args:
        workers: as in :func:`attend`, like every argument marked "see there".
        tensors: q, k, v, the gradient of out, and room for those of q, k and v.
        rows: see there.
        biases: see there.
        sums: zeros (lots, H, L + LANES) and (lots, H, N, TIME_SUMS); they receive the
            gradients of ``biases``, lot by lot.
        size: E.
        scale: see there.
        activate: see there; the gradients are those of q, k and v before SiLU.
    """
    q, k, v, grad, dq, dk, dv = tensors
    for worker in prange(workers):
        own, all_of_them = np.int64(worker), (q, k, v, grad, dq, dk, dv)
        _backward_tasks(own, workers, all_of_them, rows, biases, sums, size, scale, activate)


@compiled(parallel=True, **KERNEL)
def fill_buckets(timestamps, offsets, triangle_offsets, thresholds, buckets):
    """Fill each row's triangle of time buckets, searching from the previous key's bucket."""
    for row in prange(len(triangle_offsets)):
        at = triangle_offsets[row]
        begin = offsets[row]
        for i in range(begin, offsets[row + 1]):
            bucket = 0
            for j in range(begin, i + 1):
                seconds = max(timestamps[i] - timestamps[j], 1)
                while seconds < thresholds[bucket]:
                    bucket -= 1
                while bucket + 1 < len(thresholds) and seconds >= thresholds[bucket + 1]:
                    bucket += 1
                buckets[at] = bucket
                at += 1


@njit(**KERNEL)
def _attend_tasks(worker, workers, tensors, rows, biases, size, scale, activate):
    q, k, v, out = tensors
    offsets, by_length = rows[:2]
    heads, lots = len(biases[0]), min(MAX_LOTS, len(by_length))
    width, room = _scratch_sizes(biases, size)
    dtype, one = q[0].dtype, type(scale)(1)
    active = np.empty((3, room * heads * size if activate else 0), dtype)
    queries, values = np.empty(room * width, dtype), np.empty(room * width, dtype)
    keys, block = np.empty(room * size, dtype), np.empty(BLOCK * width, dtype)
    weights, times = np.empty(BLOCK * KEY_TILE, dtype), np.zeros(BLOCK * KEY_TILE, dtype)
    for place in _places(worker, workers, lots, len(by_length)):
        row = by_length[place]
        begin, count = offsets[row], offsets[row + 1] - offsets[row]
        given = _activated((q, k, v), begin, count, heads, size, active, activate)
        for head in range(heads):
            copy_rows(given[0], head, count, size, scale, queries)
            copy_rows(given[2], head, count, size, one, values)
            copy_panels(given[1], head, count, size, keys)
            for first in range(0, count, BLOCK):
                last = min(count, first + BLOCK)
                for tile in range(0, last, KEY_TILE):
                    reach = min(KEY_TILE, last - tile)
                    _look_up_times(row, head, first, last, tile, reach, rows, biases, times)
                    multiply_panels(queries, first, last, keys, tile, reach, size, weights)
                    _add_biases(weights, times, head, first, last, tile, reach, biases)
                    _weigh(weights, first, last, tile, reach)
                    rows_times(weights, last - first, values, tile, reach, width, block, tile > 0)
                write_rows(block, out, begin + first, head, last - first, size)


@njit(**KERNEL)
def _backward_tasks(worker, workers, tensors, rows, biases, sums, size, scale, activate):
    q, k, v, grad, dq, dk, dv = tensors
    offsets, by_length = rows[:2]
    heads, lots = len(biases[0]), min(MAX_LOTS, len(by_length))
    width, room = _scratch_sizes(biases, size)
    dtype, one = q[0].dtype, type(scale)(1)
    active = np.empty((3, room * heads * size if activate else 0), dtype)
    queries, grads = np.empty(room * width, dtype), np.empty(room * width, dtype)
    key_rows, block = np.empty(room * width, dtype), np.empty(BLOCK * width, dtype)
    key_sums, value_sums = np.empty(room * width, dtype), np.empty(room * width, dtype)
    keys, values = np.empty(room * size, dtype), np.empty(room * size, dtype)
    weights, slopes = np.empty(BLOCK * KEY_TILE, dtype), np.empty(BLOCK * KEY_TILE, dtype)
    times = np.zeros(BLOCK * KEY_TILE, dtype)
    for place in _places(worker, workers, lots, len(by_length)):
        row, lot = by_length[place], place % lots
        begin, count = offsets[row], offsets[row + 1] - offsets[row]
        given = _activated((q, k, v), begin, count, heads, size, active, activate)
        for head in range(heads):
            copy_rows(given[0], head, count, size, scale, queries)
            copy_rows(_from(grad, begin), head, count, size, one, grads)
            copy_rows(given[1], head, count, size, scale, key_rows)
            copy_panels(given[1], head, count, size, keys)
            copy_panels(given[2], head, count, size, values)
            key_sums[: whole_vectors(count) * width] = 0
            value_sums[: whole_vectors(count) * width] = 0
            for first in range(0, count, BLOCK):
                last = min(count, first + BLOCK)
                for tile in range(0, last, KEY_TILE):
                    reach = min(KEY_TILE, last - tile)
                    _look_up_times(row, head, first, last, tile, reach, rows, biases, times)
                    multiply_panels(queries, first, last, keys, tile, reach, size, weights)
                    multiply_panels(grads, first, last, values, tile, reach, size, slopes)
                    _add_biases(weights, times, head, first, last, tile, reach, biases)
                    _weigh_backward(weights, slopes, first, last, tile, reach)
                    _sum_biases(slopes, row, lot, head, first, last, tile, reach, rows, sums)
                    rows_times(slopes, last - first, key_rows, tile, reach, width, block, tile > 0)
                    columns_times(slopes, queries, first, last, tile, reach, width, key_sums)
                    columns_times(weights, grads, first, last, tile, reach, width, value_sums)
                write_rows(block, dq, begin + first, head, last - first, size)
            write_rows(key_sums, dk, begin, head, count, size)
            write_rows(value_sums, dv, begin, head, count, size)
        if activate:
            for x, dx in ((q, dq), (k, dk), (v, dv)):
                _activate_backward(x, dx, begin, count, heads * size)


@njit(**KERNEL)
def _places(worker, workers, lots, num_rows):
    """A worker's rows, lot by lot, as positions in the order of length."""
    return [place for lot in range(worker, lots, workers) for place in range(lot, num_rows, lots)]


@njit(**KERNEL)
def _from(source, begin):
    """The tokens of one row: (memory, token stride, head stride)."""
    memory, token_stride, head_stride = source
    return memory[begin * token_stride :], token_stride, head_stride


@njit(**KERNEL)
def _activated(sources, begin, count, heads, size, active, activate):
    """One row's q, k and v; with ``activate`` their SiLU, in ``active`` (3, tokens H E)."""
    q, k, v = sources
    dim = heads * size
    if not activate:
        return _from(q, begin), _from(k, begin), _from(v, begin)
    for source, target in ((q, active[0]), (k, active[1]), (v, active[2])):
        memory, token_stride, _ = source
        for t in range(count):
            at = (begin + t) * token_stride
            silu(memory[at : at + dim], target[t * dim : (t + 1) * dim])
    return (active[0], dim, size), (active[1], dim, size), (active[2], dim, size)


@njit(**KERNEL)
def _activate_backward(given, slopes, begin, count, dim):
    """Turn gradients of SiLU's output into those of its input, in place."""
    memory, token_stride, _ = given
    target, target_stride, _ = slopes
    for t in range(begin, begin + count):
        at, to = t * token_stride, t * target_stride
        silu_backward(memory[at : at + dim], target[to : to + dim])


@njit(**KERNEL)
def _scratch_sizes(biases, size):
    """Width and number of rows of scratch, rounded up to whole vectors and panels."""
    longest = biases[0].shape[1] - LANES
    return whole_vectors(size), (longest + PANEL - 1) // PANEL * PANEL


@njit(**KERNEL)
def _look_up_times(row_id, head, first, last, tile, reach, rows, biases, times):
    """Write the time bias of each pair, number by number, well before it is read as vectors."""
    _, _, triangle_offsets, buckets = rows
    time = biases[1][head]
    if len(time) == 0:
        return
    for i in range(first, last):
        to, seen = (i - first) * KEY_TILE, min(reach, i + 1 - tile)
        row, pairs = times[to:], buckets[triangle_offsets[row_id] + i * (i + 1) // 2 + tile :]
        for c in range(seen):
            row[c] = time[pairs[c]]


@njit(**KERNEL)
def _add_biases(scores, times, head, first, last, tile, reach, biases):
    position, timed = biases[0][head], len(biases[1][head]) > 0
    longest = len(position) - LANES
    for i in range(first, last):
        to, seen = (i - first) * KEY_TILE, min(reach, i + 1 - tile)
        row, nearer = scores[to : to + whole_vectors(seen)], position[longest - 1 - i + tile :]
        for c in range(len(row)):
            row[c] += nearer[c]
        if timed:
            later = times[to:]
            for c in range(len(row)):
                row[c] += later[c]


@njit(**KERNEL)
def _weigh(scores, first, last, tile, reach):
    """Scores become weights, 0 where a key is after its query."""
    for i in range(first, last):
        to = (i - first) * KEY_TILE
        seen = min(reach, i + 1 - tile)
        row = scores[to : to + whole_vectors(seen)]
        for c in range(len(row)):
            row[c] *= sigmoid(row[c])
        scores[to + seen : to + whole_vectors(reach)] = 0


@njit(**KERNEL)
def _weigh_backward(scores, slopes, first, last, tile, reach):
    """Scores become weights, and gradients of weights become gradients of scores."""
    for i in range(first, last):
        to = (i - first) * KEY_TILE
        seen = min(reach, i + 1 - tile)
        row, slope = scores[to : to + whole_vectors(seen)], slopes[to : to + whole_vectors(seen)]
        for c in range(len(row)):
            s = sigmoid(row[c])
            weight = row[c] * s
            row[c] = weight
            slope[c] *= s + weight - weight * s
        scores[to + seen : to + whole_vectors(reach)] = 0
        slopes[to + seen : to + whole_vectors(reach)] = 0


@njit(**KERNEL)
def _sum_biases(slopes, row_id, lot, head, first, last, tile, reach, rows, sums):
    _, _, triangle_offsets, buckets = rows
    position, time = sums[0][lot, head], sums[1][lot, head]
    longest = len(position) - LANES
    for i in range(first, last):
        to, seen = (i - first) * KEY_TILE, min(reach, i + 1 - tile)
        slope, nearer = slopes[to : to + whole_vectors(seen)], position[longest - 1 - i + tile :]
        for c in range(len(slope)):
            nearer[c] += slope[c]
        if len(buckets) > 0:
            pairs = buckets[triangle_offsets[row_id] + i * (i + 1) // 2 + tile :]
            for c in range(seen):
                time[pairs[c], c % TIME_SUMS] += slope[c]
