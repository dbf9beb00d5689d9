"""Two processes with half a table each against one with all of it."""

import pytest
import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn

from model.network.sharded_table import RowShard, ShardedTable, sharded_tables, sharding
from model.network.tables import SPARSE_FROM_ROWS, embedding_table

ROWS, DIM, SIZE = SPARSE_FROM_ROWS + 3, 4, 2
ASKED = ([[0, 5, 6], [5, 10_002, 1]], [[6, 6, 9_999], [0, 0, 2]])  # by process


def test_only_large_tables_are_sharded_and_only_within_the_block():
    with sharding(None):
        assert type(embedding_table(ROWS, DIM)) is nn.Embedding
    assert sharded_tables(nn.ModuleList([embedding_table(ROWS, DIM)])) == {}


@pytest.mark.parametrize("rank", range(3))
def test_every_row_has_one_owner(rank):
    whole = torch.arange(11)
    shards = [RowShard(rank, 3, None) for rank in range(3)]
    assert shards[rank].take(whole).tolist() == [0, *range(1 + rank, 11, 3)]


def test_rows_and_gradients_are_those_of_the_whole_table(tmp_path):
    spawn(_process, (str(tmp_path / "meet"),), SIZE)


def _process(rank: int, meet: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=SIZE)
    shard = RowShard(rank, SIZE, None)
    torch.manual_seed(0)
    whole = embedding_table(ROWS, DIM)
    torch.manual_seed(0)
    with sharding(shard):
        mine, small = embedding_table(ROWS, DIM), embedding_table(7, DIM)
    assert isinstance(mine, ShardedTable) and type(small) is nn.Embedding
    asked = [torch.tensor(ids) for ids in ASKED]
    found = mine(asked[rank])
    assert torch.equal(found, whole(asked[rank]))
    _loss(found, rank).backward()
    for process, ids in enumerate(asked):
        _loss(whole(ids), process).backward()
    assert mine.weight.grad is not None and mine.weight.grad.is_sparse
    assert whole.weight.grad is not None
    torch.testing.assert_close(
        mine.weight.grad.to_dense(), shard.take(whole.weight.grad.to_dense())
    )
    nothing = mine(torch.zeros(0, 3, dtype=torch.int64)) if rank else mine(torch.tensor([[4]]))
    assert nothing.shape == ((0, 3, DIM) if rank else (1, 1, DIM))
    nothing.sum().backward()
    distributed.destroy_process_group()


def _loss(rows: torch.Tensor, process: int) -> torch.Tensor:
    return (rows.square() * torch.arange(1, DIM + 1)).sum() * (process + 1)
