"""One extension of a beam search on a CPU: legal children of the beams, scored and sorted.

Parallel over users. Only the legal children's rows of the output layer are read, in place; a
user's scores stay in the cache.
"""

import numpy as np
from numba import njit, prange

from model.compiled import compiled
from model.network.kernel_options import KERNEL_ANY_ORDER
from model.network.vector_math import exponential

BINS = 1024  # of the scores' histogram; enough that few share the bin of the last one wanted


@compiled(parallel=True, **KERNEL_ANY_ORDER)
def best_children(workers, queries, beams, codes, weight, bias, best_nodes, best_log_probs):
    """Write the best children of each user's beams, descending; unused places keep their fill.

    Args:
        workers: threads that share the users.
        queries: (B, W, D) float32.
        beams: log-probability (B, W) float32, first child (B, W) and number of children (B, W) of
            each beam.
        codes: (N, l) int64 codes of each node of the children's level.
        weight: (K + 1, D) float32, row c for code c.
        bias: (K + 1,) float32.
        best_nodes: (B, M) int64, filled with -1.
        best_log_probs: (B, M) float32, filled with -inf.
    """
    log_probs, starts, counts = beams  # prange takes no tuples
    for worker in prange(workers):
        for user in range(worker, len(queries), workers):
            total = counts[user].sum()
            scores, nodes = np.empty(total, np.float32), np.empty(total, np.int64)
            at = 0
            for beam in range(queries.shape[1]):
                start, count = starts[user, beam], counts[user, beam]
                own = scores[at : at + count]
                _logits(queries[user, beam], codes[start : start + count], weight, bias, own)
                _normalise(own, log_probs[user, beam])
                for child in range(count):
                    nodes[at + child] = start + child
                at += count
            _write_best(scores, nodes, best_nodes[user], best_log_probs[user])


@njit(**KERNEL_ANY_ORDER)
def _logits(query, codes, weight, bias, logits):
    for n in range(len(codes)):
        code = codes[n, codes.shape[1] - 1]
        row = weight[code]
        total = np.float32(0)
        for d in range(len(query)):
            total += query[d] * row[d]
        logits[n] = total + bias[code]


@njit(**KERNEL_ANY_ORDER)
def _normalise(logits, log_prob):
    """Log-softmax the logits in place and add their beam's log-probability."""
    if len(logits) == 0:
        return
    peak = logits.max()
    total = np.float32(0)
    for n in range(len(logits)):
        total += exponential(logits[n] - peak)
    shift = log_prob - peak - np.log(total)
    for n in range(len(logits)):
        logits[n] += shift


@njit(**KERNEL_ANY_ORDER)
def _write_best(scores, nodes, best_nodes, best_log_probs):
    """Write the best scores, descending; ties keep their order, as in a stable sort."""
    kept = _at_least_best(scores, len(best_nodes))
    order = np.argsort(-scores[kept], kind="mergesort")
    for place in range(min(len(best_nodes), len(order))):
        child = kept[order[place]]
        best_nodes[place], best_log_probs[place] = nodes[child], scores[child]


@njit(**KERNEL_ANY_ORDER)
def _at_least_best(scores, width):
    """Indices of the ``width`` best scores and a few more, preselected by a histogram.

    All indices where there are no more scores, or where these are all equal or not finite.
    """
    if len(scores) <= width:
        return np.arange(len(scores))
    high = scores.max()
    spread = high - scores.min()
    if not 0 < spread < np.inf:
        return np.arange(len(scores))
    scale = np.float32(BINS - 1) / spread
    counts = np.zeros(BINS, np.int64)
    for n in range(len(scores)):
        counts[int((high - scores[n]) * scale)] += 1
    last, found = 0, counts[0]
    while found < width:
        last += 1
        found += counts[last]
    kept, at = np.empty(found, np.int64), 0
    for n in range(len(scores)):
        if int((high - scores[n]) * scale) <= last:
            kept[at] = n
            at += 1
    return kept
