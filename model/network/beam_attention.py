"""Attention of W queries at the last position of each row: the beams of a decoder.

All queries of a row share its keys and values, which are projected once and never repeated. Each
decoder layer runs only once, so there is no KV cache either: a few rows at a time go through all
layers while their data stay in the CPU's cache.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.network.attention_plan import time_buckets

TOKENS_AT_ONCE = {"cpu": 16384, "cuda": 1 << 20}  # of rows that go through the layers together


@dataclass(frozen=True)
class Memory:
    """Packed rows, as seen from the last position of each.

    Attributes:
        hidden: (T, dim) the encoder's output.
        offsets: (B + 1,) int64.
        distance: (T,) int64 positions from the token to its row's end.
        buckets: (T,) int64 bucket of the time to the row's end; None without a time bias.
    """

    hidden: Tensor
    offsets: Tensor
    distance: Tensor
    buckets: Tensor | None

    def pieces(self) -> Iterator[tuple[slice, "Memory"]]:
        """Iterate over groups of rows: the slice of rows, and their part of the memory."""
        at_once = TOKENS_AT_ONCE[self.hidden.device.type]
        piece = self.offsets[:-1] // at_once
        firsts = (piece[1:] != piece[:-1]).nonzero().flatten() + 1
        bounds = [0, *firsts.tolist(), len(piece)]
        tokens = self.offsets[torch.tensor(bounds, device=self.offsets.device)].tolist()
        for number in range(len(bounds) - 1):
            rows = slice(bounds[number], bounds[number + 1])
            part = slice(tokens[number], tokens[number + 1])
            yield (
                rows,
                Memory(
                    self.hidden[part],
                    self.offsets[rows.start : rows.stop + 1] - part.start,
                    self.distance[part],
                    None if self.buckets is None else self.buckets[part],
                ),
            )

    def padded_places(self) -> tuple[Tensor, Tensor]:
        """(B, L) int64 token of each place, the last one repeated past the end; (B, L) mask."""
        lengths = self.offsets.diff()
        column = torch.arange(int(lengths.max()), device=self.offsets.device)
        places = self.offsets[:-1, None] + column
        return torch.minimum(places, self.offsets[1:, None] - 1), column < lengths[:, None]


def remember(
    hidden: Tensor, offsets: Tensor, timestamps: Tensor | None, *, num_buckets: int
) -> Memory:
    """The memory of packed rows.

    Args:
        hidden: (T, dim) the encoder's output.
        offsets: (B + 1,) int64.
        timestamps: (T,) int64 seconds, None where no layer has a time bias.
        num_buckets: of the time bias.
    """
    last = (offsets[1:] - 1).repeat_interleave(offsets.diff())
    buckets = None
    if timestamps is not None:
        buckets = time_buckets(timestamps[last] - timestamps, num_buckets)
    distance = last - torch.arange(len(hidden), device=hidden.device)
    return Memory(hidden, offsets, distance, buckets)


def attend_last(
    gates_queries: Tensor,
    memory: Memory,
    values_keys: nn.Linear,
    score_bias: Tensor | None,
    norm: nn.Module,
    *,
    num_heads: int,
    scale: float,
) -> Tensor:
    """SiLU attention of the queries of each row to the whole row, normalised and gated.

    What a decoder's layer does between its two linear layers. Not differentiable on a CPU.

    Args:
        gates_queries: (B, W, 2 D), before their SiLU.
        memory: of B rows.
        values_keys: projects the memory to (T, 2 D), before their SiLU.
        score_bias: (H, T) added to the scores of a token, or None.
        norm: of the attention's output, a layer norm or the identity.
        num_heads: H, a divisor of D.
        scale: of the scores.

    Returns:
        (B, W, D).
    """
    dtype = gates_queries.dtype
    if gates_queries.is_cpu and dtype in (torch.float32, torch.float64) and find_spec("numba"):
        from model.network.beam_attention_cpu import attend

        return attend(
            gates_queries, memory, values_keys, score_bias, norm, num_heads=num_heads, scale=scale
        )
    return attend_padded(
        gates_queries, memory, values_keys, score_bias, norm, num_heads=num_heads, scale=scale
    )


def attend_padded(
    gates_queries: Tensor,
    memory: Memory,
    values_keys: nn.Linear,
    score_bias: Tensor | None,
    norm: nn.Module,
    *,
    num_heads: int,
    scale: float,
) -> Tensor:
    """As :func:`attend_last`, (B, W, D), in PyTorch's own operations."""
    places, inside = memory.padded_places()
    active = F.silu(values_keys(memory.hidden))
    values, keys = (x.unflatten(1, (num_heads, -1))[places] for x in active.chunk(2, dim=1))
    gates, queries = F.silu(gates_queries).chunk(2, dim=-1)
    heads = queries.unflatten(-1, (num_heads, -1)).transpose(1, 2)  # (B, H, W, E)
    scores = heads @ keys.permute(0, 2, 3, 1) * scale
    if score_bias is not None:
        scores = scores + score_bias[:, places].transpose(0, 1)[:, :, None]
    weights = F.silu(scores) * inside[:, None, None]
    attended = (weights @ values.transpose(1, 2)).transpose(1, 2).flatten(2)
    return norm(attended) * gates
