"""The decoder of semantic IDs: one query per level, cross-attending to the encoder's output.

Level 1's query is the hidden state itself, level l's the hidden state fused with the embedded
prefix of codes (paper: section 3.4.2). In training the prefix is that of the true next item
(teacher forcing) and every token has a query; in decoding only the last token of each row does,
one per beam, and all beams share the row's keys and values, which are projected once.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from model.network.attention_plan import AttentionPlan
from model.network.beam_attention import Memory, remember
from model.network.feed_forward import EPSILON
from model.network.hstu import NUM_TIME_BUCKETS, CrossHSTULayer
from model.network.initialization import initialize
from model.network.linear import Linear
from model.network.tables import embedding_table
from model.network.thread_invariance import thread_invariant

if TYPE_CHECKING:
    from model.params import NetworkParams


@dataclass(frozen=True)
class DecoderState:
    """What decoding needs of B users.

    Attributes:
        hidden: (B, dim) the encoder's output at the last token.
        memory: the whole rows.
    """

    hidden: Tensor
    memory: Memory


class Level(nn.Module):
    """The query, layers and output of one level of the semantic ID."""

    def __init__(self, params: "NetworkParams", level: int, size: int) -> None:
        super().__init__()
        dim = params.dim
        self.fusion = Linear(dim + params.sid_dim, dim) if level > 1 else None
        depth = params.num_decoder_layers if level > 1 else 1
        self.layers = nn.ModuleList(CrossHSTULayer(params) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=EPSILON)
        self.head = nn.Linear(dim, size + 1)  # row 0 stands for no code and is never used
        initialize(self.head)
        if self.fusion is not None:
            initialize(self.fusion)

    def query(self, hidden: Tensor, prefix: Tensor | None) -> Tensor:
        """(..., dim) hidden states and (..., sid_dim) embedded prefixes -> (..., dim)."""
        if self.fusion is None or prefix is None:
            return hidden
        return hidden + self.fusion(torch.cat([hidden, prefix], dim=-1))


class SidDecoder(nn.Module):
    """One :class:`Level` per level of the codebook. Levels count from 1, codes from 1."""

    def __init__(self, params: "NetworkParams", sid_sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            Level(params, level, size) for level, size in enumerate(sid_sizes, 1)
        )
        self.codes = nn.ModuleList(embedding_table(size, params.sid_dim) for size in sid_sizes[:-1])

    def forward(self, hidden: Tensor, plan: AttentionPlan, sids: Tensor) -> list[Tensor]:
        """Teacher-forced queries of every token, (T, dim) per level, before the output layer.

        Args:
            hidden: (T, dim) the encoder's output.
            plan: of the rows.
            sids: (T, levels) int64 codes of each token's next item, 0 where it has none.
        """
        queries = []
        for number in range(1, len(self.levels) + 1):
            level = self._level(number)
            prefix = self._embed(sids[:, : number - 1]) if number > 1 else None
            query = level.query(hidden, prefix)
            for layer in level.layers:
                query = layer(query, hidden, plan)
            queries.append(level.norm(query))
        return queries

    def start(self, hidden: Tensor, offsets: Tensor, timestamps: Tensor | None) -> DecoderState:
        """Prepare decoding.

        Args:
            hidden: (T, dim) the encoder's output.
            offsets: (B + 1,) int64.
            timestamps: (T,) int64, None where the network has no time bias.
        """
        memory = remember(hidden, offsets, timestamps, num_buckets=NUM_TIME_BUCKETS)
        return DecoderState(hidden[offsets[1:] - 1], memory)

    def level1_logits(self, state: DecoderState) -> Tensor:
        """(B, K_1) logits of the codes 1..K_1."""
        query = self._decode(state, 1, state.hidden[:, None])[:, 0]
        return query @ self.output_weight(1)[1:].T + self.output_bias(1)[1:]

    def expand(self, state: DecoderState, prefixes: Tensor) -> Tensor:
        """(B, W, l) int64 codes -> (B, W, dim) queries for level l + 1."""
        number = prefixes.shape[-1] + 1
        level = self._level(number)
        hidden = state.hidden[:, None].expand(-1, prefixes.shape[1], -1)
        return self._decode(state, number, level.query(hidden, self._embed(prefixes)))

    def output_weight(self, level: int) -> Tensor:
        """(K_level + 1, dim), row c for code c."""
        return self._level(level).head.weight

    def output_bias(self, level: int) -> Tensor:
        """(K_level + 1,)."""
        return self._level(level).head.bias

    def _decode(self, state: DecoderState, number: int, query: Tensor) -> Tensor:
        level = self._level(number)
        parts = []
        for rows, memory in state.memory.pieces():
            part = query[rows]
            with thread_invariant(min(part.shape[:-1].numel(), len(memory.hidden))):
                for layer in level.layers:
                    assert isinstance(layer, CrossHSTULayer)
                    part = layer.attend_last(part, memory)
            parts.append(part)
        return level.norm(torch.cat(parts))

    def _level(self, number: int) -> Level:
        level = self.levels[number - 1]
        assert isinstance(level, Level)
        return level

    def _embed(self, prefixes: Tensor) -> Tensor:
        """(..., l) codes -> (..., sid_dim), the sum over their levels."""
        parts = [self.codes[level](prefixes[..., level]) for level in range(prefixes.shape[-1])]
        return torch.stack(parts).sum(dim=0)
