"""Embedding tables whose rows are divided among the processes of a training.

Row i > 0 belongs to process (i - 1) mod size and is its row (i - 1) div size + 1; row 0, padding,
is in every process. Neighbouring rows go to different processes, so that ids in order of popularity
load all of them equally. A lookup sends each distinct id to its owner and receives its row;
backward sends the row's gradient to the owner, which so has the whole gradient of its rows. No
process keeps a whole table: each initialises it whole, one table after another, and takes its
share, and the first gathers them when it saves.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


@dataclass(frozen=True)
class RowShard:
    """The rows of one process.

    Attributes:
        rank: of the process.
        size: processes.
        group: the process group of lookups, apart from other communication; None for the
            default group.
    """

    rank: int
    size: int
    group: distributed.ProcessGroup | None

    @property
    def rows(self) -> slice:
        """This process's rows of a whole table, without padding."""
        return slice(1 + self.rank, None, self.size)

    def take(self, whole: Tensor) -> Tensor:
        """Padding and this process's rows of a whole table, or of a tensor with its rows."""
        return torch.cat([whole[:1], whole[self.rows]])


_shard: ContextVar[RowShard | None] = ContextVar("shard", default=None)


@contextmanager
def sharding(shard: RowShard | None) -> Iterator[None]:
    """Within the block, new large tables keep only this process's rows."""
    token = _shard.set(shard)
    try:
        yield
    finally:
        _shard.reset(token)


def sharded(table: nn.Embedding) -> nn.Embedding:
    """The table itself, or this process's rows of it within :func:`sharding`."""
    shard = _shard.get()
    return table if shard is None or not table.sparse else ShardedTable(table, shard)


class ShardedTable(nn.Embedding):
    """This process's rows of a table, with lookup of all others.

    Every process must make the same number of lookups in the same order, even of no ids.

    Attributes:
        shard: which rows.
        num_rows: of the whole table.
    """

    def __init__(self, whole: nn.Embedding, shard: RowShard) -> None:
        own = shard.take(whole.weight.detach())
        super().__init__(*own.shape, padding_idx=0, sparse=True, _weight=own)
        self.shard, self.num_rows = shard, whole.num_embeddings

    def forward(self, input: Tensor) -> Tensor:
        """Ids of any shape -> that shape and (dim,)."""
        distinct, places = torch.unique(input, return_inverse=True)
        asked = distinct[distinct > 0]
        owners = (asked - 1) % self.shard.size
        order = owners.argsort(stable=True)
        sent = torch.bincount(owners, minlength=self.shard.size)
        received = torch.empty_like(sent)
        distributed.all_to_all_single(received, sent, group=self.shard.group)
        splits = (received.tolist(), sent.tolist())
        wanted = asked.new_empty(sum(splits[0]))
        distributed.all_to_all_single(wanted, asked[order], *splits, group=self.shard.group)
        own = F.embedding((wanted - 1) // self.shard.size + 1, self.weight, sparse=True)
        rows = _SendBack.apply(own, splits, self.shard.group)
        where = torch.zeros_like(distinct)
        where[distinct > 0] = order.argsort() + 1
        return F.embedding(where[places], torch.cat([rows.new_zeros(1, rows.shape[1]), rows]))


class _SendBack(torch.autograd.Function):
    """Send rows to the processes that asked for them; backward, gradients to the owners."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, splits: Any, group: Any) -> Tensor:
        ctx.splits, ctx.group = splits, group
        sent, received = splits
        found = rows.new_empty(sum(received), rows.shape[1])
        distributed.all_to_all_single(found, rows, received, sent, group=group)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        sent, received = ctx.splits
        returned = grad.new_empty(sum(sent), grad.shape[1])
        distributed.all_to_all_single(returned, grad.contiguous(), sent, received, group=ctx.group)
        return returned, None, None


def sharded_tables(network: nn.Module) -> dict[str, ShardedTable]:
    """The sharded tables of a network by the name of their weight."""
    return {
        f"{name}.weight": module
        for name, module in network.named_modules()
        if isinstance(module, ShardedTable)
    }
