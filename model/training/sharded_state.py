"""What sharded tables add to a training: averaging their gradients, saving and resuming.

States and checkpoints hold whole tables, so that a training can resume with another number of
processes, or without sharding. The first process receives them shard by shard.
"""

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.network.sharded_table import RowShard, ShardedTable, sharded_tables
from model.training.distributed import World


def shard_of(world: World) -> RowShard | None:
    """The rows of this process; None in a world of one, which has them all."""
    if world.size == 1:
        return None
    group = dist.new_group()
    assert isinstance(group, dist.ProcessGroup)
    return RowShard(world.rank, world.size, group)


class ShardedState:
    """Sharded tables among a network's named tensors; without any, all methods change nothing.

    A tensor belongs to a table if its name contains the table's, with any prefix and suffix:
    weights, moments and averages have the table's rows.
    """

    def __init__(self, network: nn.Module, world: World) -> None:
        self.tables, self.world = sharded_tables(network), world

    def average_gradients(self) -> None:
        """Turn the owners' sums over all processes into means, as for all other gradients."""
        for table in self.tables.values():
            if table.weight.grad is not None:
                table.weight.grad = table.weight.grad / self.world.size

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gather whole tables on the CPU of the first process; the other processes omit them.

        All processes must call it.
        """
        found = {}
        for name, tensor in tensors.items():
            table = self._table(name)
            gathered = tensor if table is None else self._gather(tensor, table)
            if gathered is not None:
                found[name] = gathered
        return found

    def own(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Reduce whole tables to this process's rows."""
        found = {}
        for name, tensor in tensors.items():
            table = self._table(name)
            found[name] = tensor if table is None else table.shard.take(tensor)
        return found

    def _table(self, name: str) -> ShardedTable | None:
        return next((t for key, t in self.tables.items() if f".{key}." in f".{name}."), None)

    def _gather(self, own: Tensor, table: ShardedTable) -> Tensor | None:
        size, device = self.world.size, self.world.device
        if not self.world.is_first:
            dist.send(own[1:].to(device).contiguous(), 0)
            return None
        whole = torch.empty(table.num_rows, *own.shape[1:], dtype=own.dtype)
        whole[:1], whole[table.shard.rows] = own[:1], own[1:]
        for rank in range(1, size):
            rows = whole[1 + rank :: size]
            shard = torch.empty(rows.shape, dtype=own.dtype, device=device)
            dist.recv(shard, rank)
            rows.copy_(shard)
        return whole
