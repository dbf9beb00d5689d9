"""The report on one source's semantic IDs: the paper's table 2, and more."""

from typing import Any

import numpy as np

from model.tokenizer.input_space import in_input_space
from model.tokenizer.quantizer import Assignment, measure
from model.tokenizer.sids import Occupancy
from model.tokenizer.tokenize import Tokenization
from model.tokenizer.usage import level_usage, usage_bars


def report_row(tokens: Tokenization) -> dict[str, Any]:
    """The source's row of the paper's table 2, and more.

    Returns:
        ``source``, ``items``, ``excluded`` zero vectors, ``loss1``, ``loss2`` and so on (mean
        squared distance after each level), ``levels`` (usage of each, before re-assignment),
        ``largest_nearest_share`` of items with one nearest first code, before any balancing,
        ``usage`` (histograms of each level, before and after re-assignment), ``before`` and
        ``after`` re-assignment (the paper's conflicts, and items ``over_capacity``: 0 where none
        is left to resolve), items that it ``moved`` and, of these, ``spilled`` from their prefix,
        ``drift``: the increase of the mean distance to the assigned centroid. With every method,
        these distances are in the space of the vectors, see ``input_space``;
        ``codebook_distance`` is the mean distance after re-assignment in that of the codebooks.
    """
    quantizer = tokens.quantizer
    first, final = _among_the_vectors(tokens)
    inertias = first.distances.mean(axis=0, dtype=np.float64)
    levels = [
        {"inertia": float(inertia)} | level_usage(codes, size)
        for inertia, codes, size in zip(inertias, first.codes.T, quantizer.sizes, strict=True)
    ]
    usage = [
        {
            "before": usage_bars(first.codes[:, level], size),
            "after": usage_bars(final.codes[:, level], size),
        }
        for level, size in enumerate(quantizer.sizes)
    ]
    before, after = (_occupation(tokens, assigned) for assigned in (first, final))
    return {
        "source": tokens.vectors.source,
        "items": len(tokens.vectors),
        "excluded": tokens.vectors.excluded,
        **{f"loss{number}": level["inertia"] for number, level in enumerate(levels, 1)},
        "levels": levels,
        "largest_nearest_share": tokens.nearest_share,
        "usage": usage,
        "before": before,
        "after": after,
        "moved": int((first.codes != final.codes).any(axis=1).sum()),
        "spilled": int(tokens.spilled.sum()),
        "drift": after["mean_distance"] - before["mean_distance"],
        "codebook_distance": _mean_distance(tokens.final),
    }


def _among_the_vectors(tokens: Tokenization) -> tuple[Assignment, Assignment]:
    """First and final codes with their distances in the space of the vectors."""
    if not tokens.quantizer.encoder:
        return tokens.first, tokens.final
    codes = tokens.first.codes, tokens.final.codes
    plain = in_input_space(tokens.quantizer, tokens.vectors, *codes)
    first, final = (
        Assignment(assigned.codes, measure(plain, tokens.vectors, assigned.codes))
        for assigned in (tokens.first, tokens.final)
    )
    return first, final


def _occupation(tokens: Tokenization, assigned: Assignment) -> dict[str, Any]:
    occupancy = Occupancy.of(assigned.codes, tokens.quantizer.sizes)
    return {
        "conflicts": occupancy.conflicts,
        "conflict_rate": occupancy.conflict_rate,
        "unique_pairs": occupancy.unique_pairs,
        "over_capacity": occupancy.over(tokens.capacity),
        "mean_distance": _mean_distance(assigned),
    }


def _mean_distance(assigned: Assignment) -> float:
    return float(np.sqrt(assigned.distances[:, -1], dtype=np.float64).mean())
