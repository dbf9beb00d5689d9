"""Beam search over the semantic IDs that exist; of the model it needs four decoder methods.

The probability of a semantic ID is a product over its levels. Level 1 is normalised over the whole
first codebook; every deeper level over the legal children of the prefix alone, so that an ID that
does not exist gets no probability and its logit is not computed. Within the beams the search is
exact: level 1 keeps the ``beam_width`` best legal codes, the last level the ``num_sids`` best of
all legal children, levels between keep the larger of both numbers. With a beam as wide as the
number of legal prefixes it enumerates all legal IDs.

Paper: section 4.1 (width 20, 384 IDs); there half of the beams may be illegal.
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from model.inference import beam_kernels, ragged
from model.inference.trie import Trie
from model.network.threads import torch_threads

State = TypeVar("State", contravariant=True)

LOGITS_AT_ONCE = 4_000_000  # legal children scored in one piece: bounds the memory of a batch


class Decoder(Protocol[State]):
    """What the search asks of a decoder. Levels count from 1, codes from 1."""

    def level1_logits(self, state: State) -> Tensor:
        """(B, K_1) float: logits of the codes 1..K_1."""
        ...

    def expand(self, state: State, prefixes: Tensor) -> Tensor:
        """(B, W, l) int64 codes -> (B, W, D) queries for level l + 1."""
        ...

    def output_weight(self, level: int) -> Tensor:
        """(K_level + 1, D), row c for code c."""
        ...

    def output_bias(self, level: int) -> Tensor:
        """(K_level + 1,)."""
        ...


@dataclass(frozen=True)
class Beams:
    """The best nodes of one level of the trie, per user.

    Attributes:
        nodes: (B, W) int64 nodes of the trie's level; -1 where fewer exist.
        log_probs: (B, W) float32, descending; -inf where ``nodes`` is -1.
    """

    nodes: Tensor
    log_probs: Tensor


def beam_search(
    decoder: Decoder[State], state: State, trie: Trie, *, beam_width: int, num_sids: int
) -> list[Beams]:
    """The beams after each level, up to the ``num_sids`` most probable legal semantic IDs.

    Args:
        decoder: scores the codes.
        state: the decoder's state of B users, with keys and values once per user.
        trie: the legal semantic IDs, on the decoder's device.
        beam_width: prefixes kept at the first level.
        num_sids: semantic IDs kept at the last level; levels between keep as many prefixes, or
            ``beam_width`` where that is more.

    Returns:
        Nodes of each level of the trie; the last are its leaves, (B, num_sids).
    """
    widths = _widths(trie, beam_width, num_sids)
    beams = [_first_level(decoder, state, trie, widths[0])]
    for level, width in enumerate(widths[1:], start=1):
        beams.append(_extend(decoder, state, trie, beams[-1], level, width))
    return beams


def _widths(trie: Trie, beam_width: int, num_sids: int) -> list[int]:
    """How many nodes each level keeps."""
    # Long prefixes are nearly unique: fewer than ``num_sids`` of them would yield too few IDs.
    between = max(beam_width, num_sids)
    wanted = [beam_width, *[between] * (trie.num_levels - 2)]
    # Padding for prefixes that do not exist would cost the decoder as much as real ones.
    prefixes = trie.prefixes[:-1]
    kept = [min(width, len(codes)) for width, codes in zip(wanted, prefixes, strict=False)]
    return [*kept, num_sids]


def _first_level(decoder: Decoder[State], state: State, trie: Trie, width: int) -> Beams:
    """The ``width`` most probable legal first codes: nodes of the trie's first level."""
    log_probs = decoder.level1_logits(state).float().log_softmax(dim=-1)
    legal = log_probs[:, trie.prefixes[0][:, 0] - 1]
    return Beams(*_best(legal, torch.arange(legal.shape[1], device=legal.device), width))


def _extend(
    decoder: Decoder[State], state: State, trie: Trie, beams: Beams, level: int, width: int
) -> Beams:
    """From the beams of one level to the ``width`` best children; ``level`` is 0-based."""
    parents = beams.nodes.clamp(min=0)
    starts = trie.child_offsets[level - 1][parents]
    counts = trie.child_offsets[level - 1][parents + 1] - starts
    children = Children(
        queries=decoder.expand(state, trie.prefixes[level - 1][parents]).float(),
        log_probs=beams.log_probs,
        starts=starts,
        counts=torch.where(beams.nodes >= 0, counts, 0),
        codes=trie.prefixes[level],
        weight=decoder.output_weight(level + 1).detach().float(),
        bias=decoder.output_bias(level + 1).detach().float(),
    )
    if children.queries.device.type == "cpu":
        return best_children_compiled(children, width)
    return best_children(children, width)


@dataclass(frozen=True)
class Children:
    """The legal continuations of W beams of each of B users.

    Attributes:
        queries: (B, W, D) float32.
        log_probs: (B, W) float32 of the beams.
        starts: (B, W) int64, first child's node.
        counts: (B, W) int64 children, 0 for no beam.
        codes: (N, l) int64 codes of all nodes of the children's level.
        weight: (K + 1, D) float32 of the output layer, row c for code c.
        bias: (K + 1,) float32.
    """

    queries: Tensor
    log_probs: Tensor
    starts: Tensor
    counts: Tensor
    codes: Tensor
    weight: Tensor
    bias: Tensor


def best_children_compiled(children: Children, width: int) -> Beams:
    """The ``width`` best children of each user on a CPU, one user at a time in the cache."""
    nodes = torch.full((len(children.counts), width), -1)
    log_probs = torch.full(nodes.shape, -torch.inf)
    beams = (children.log_probs, children.starts, children.counts)
    with torch_threads() as workers:
        beam_kernels.best_children(
            workers,
            children.queries.detach().contiguous().numpy(),
            tuple(x.contiguous().numpy() for x in beams),
            children.codes.numpy(),
            children.weight.contiguous().numpy(),
            children.bias.contiguous().numpy(),
            nodes.numpy(),
            log_probs.numpy(),
        )
    return Beams(nodes, log_probs)


def best_children(children: Children, width: int) -> Beams:
    """As :func:`best_children_compiled`, in PyTorch operations on any device."""
    counts = children.counts
    users = max(1, LOGITS_AT_ONCE * len(counts) // max(int(counts.sum()), 1))
    parts = []
    for begin in range(0, len(counts), users):
        rows = slice(begin, begin + users)
        count = counts[rows].flatten()
        owners, nodes = ragged.expand(children.starts[rows].flatten(), count)
        codes = children.codes[nodes, -1]
        offsets = ragged.offsets_of(count)
        queries = children.queries[rows].flatten(0, 1)
        logits = ragged.sampled_dot(queries, children.weight, offsets, codes)
        scores = ragged.log_softmax(logits + children.bias[codes], owners, offsets)
        scores = scores + children.log_probs[rows].flatten()[owners]
        by_user = ragged.offsets_of(counts[rows].sum(dim=1))
        user = owners // counts.shape[1]
        dense_scores = ragged.pack(scores, user, by_user, -torch.inf)
        dense_nodes = ragged.pack(nodes, user, by_user, -1)
        parts.append(_best(dense_scores, dense_nodes, width))
    return Beams(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _best(scores: Tensor, nodes: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The ``width`` best of each row, descending, padded with -1 and -inf where there are fewer.

    Args:
        scores: (B, N) float32, -inf for nodes that are left out.
        nodes: (B, N) or (N,) int64.
        width: columns wanted.
    """
    best, columns = scores.topk(min(width, scores.shape[1]), dim=1)
    chosen = nodes.expand(scores.shape).gather(1, columns)
    chosen = torch.where(best > -torch.inf, chosen, -1)
    missing = (0, width - best.shape[1])
    return (
        torch.nn.functional.pad(chosen, missing, value=-1),
        torch.nn.functional.pad(best, missing, value=-torch.inf),
    )
