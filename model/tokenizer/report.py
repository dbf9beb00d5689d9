"""What is to be said of one source's semantic IDs: the paper's table 2, and more."""

from typing import Any

import numpy as np

from model.tokenizer.quantizer import Assignment, Quantizer
from model.tokenizer.sids import Occupancy
from model.tokenizer.tokenize import Tokens
from model.tokenizer.usage import level_usage


def report_row(tokens: Tokens) -> dict[str, Any]:
    """The source's row of the paper's table 2, and more.

    Returns:
        ``source``, ``items``, ``excluded`` zero vectors, ``loss1``, ``loss2`` and so on (mean
        squared distance after each level), ``levels`` (usage of each, of the nearest codes),
        ``before`` and ``after`` re-assignment, ``moved``, ``spilled``, ``drift``: what the mean
        distance to the assigned centroid grew by.
    """
    quantizer, first, final = tokens.quantizer, tokens.first, tokens.final
    inertias = first.distances.mean(axis=0, dtype=np.float64)
    levels = [
        {"inertia": float(inertia)} | level_usage(codes, size)
        for inertia, codes, size in zip(inertias, first.codes.T, quantizer.sizes, strict=True)
    ]
    before, after = (_occupation(quantizer, assigned) for assigned in (first, final))
    return {
        "source": tokens.vectors.source,
        "items": len(tokens.vectors),
        "excluded": tokens.vectors.excluded,
        **{f"loss{number}": level["inertia"] for number, level in enumerate(levels, 1)},
        "levels": levels,
        "before": before,
        "after": after,
        "moved": int((first.codes != final.codes).any(axis=1).sum()),
        "spilled": int(tokens.spilled.sum()),
        "drift": after["mean_distance"] - before["mean_distance"],
    }


def _occupation(quantizer: Quantizer, assigned: Assignment) -> dict[str, Any]:
    occupancy = Occupancy.of(assigned.codes, quantizer.sizes)
    distances = np.sqrt(assigned.distances[:, -1], dtype=np.float64)
    return {
        "conflicts": occupancy.conflicts,
        "conflict_rate": occupancy.conflict_rate,
        "unique_pairs": occupancy.unique_pairs,
        "mean_distance": float(distances.mean()),
    }
