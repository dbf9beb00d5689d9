"""Row-sparse AdamW against torch's, run for each row on that row's own gradients."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.training.row_sparse_adamw import RowSparseAdamW

SETTINGS = {"betas": (0.9, 0.98), "eps": 1e-9, "weight_decay": 0.1}
ROWS, DIM, LR = 12, 5, 0.05


def batches(steps: int = 9) -> list[Tensor]:
    """Ids of each step, with repetitions, padding, and rows that come late or never (11)."""
    generator = torch.Generator().manual_seed(0)
    early = [torch.randint(0, 6, (8,), generator=generator) for _ in range(steps - 3)]
    return [*early, *(torch.randint(0, 11, (8,), generator=generator) for _ in range(3))]


def loss(table: Tensor, ids: Tensor, *, sparse: bool) -> Tensor:
    found = F.embedding(ids, table, padding_idx=0, sparse=sparse)
    return (found * torch.linspace(-1, 2, DIM, dtype=table.dtype)).pow(2).sum() + found.sum()


def start() -> nn.Parameter:
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(ROWS, DIM, generator=generator, dtype=torch.float64)
    table[0] = 0
    return nn.Parameter(table)


def expected_table() -> Tensor:
    """One optimiser per row, which sees only the steps that touch the row."""
    rows = [nn.Parameter(row.clone()) for row in start().detach()]
    optimizers = [torch.optim.AdamW([row], lr=LR, **SETTINGS) for row in rows]
    for ids in batches():
        table = torch.stack([row.detach() for row in rows]).requires_grad_()
        loss(table, ids, sparse=False).backward()
        for row in set(ids.tolist()) - {0}:
            rows[row].grad = table.grad[row]
            optimizers[row].step()
    return torch.stack([row.detach() for row in rows])


def test_every_row_is_stepped_as_if_alone():
    table = start()
    optimizer = RowSparseAdamW({"table": table}, **SETTINGS)
    for ids in batches():
        table.grad = None
        loss(table, ids, sparse=True).backward()
        optimizer.step(LR, {})
    torch.testing.assert_close(table.detach(), expected_table())
    assert torch.equal(table[11], start()[11])  # never met
    assert optimizer.updates["table"].tolist() == [
        sum(row in ids for ids in batches()) if row else 0 for row in range(ROWS)
    ]


def test_rows_named_twice_and_summed_over_micro_batches_count_once():
    whole, parts = start(), start()
    optimizers = [RowSparseAdamW({"t": table}, **SETTINGS) for table in (whole, parts)]
    ids = torch.tensor([3, 3, 4, 7, 3])
    loss(whole, ids, sparse=True).backward()
    loss(parts, ids[:2], sparse=True).backward()
    loss(parts, ids[2:], sparse=True).backward()
    for optimizer in optimizers:
        optimizer.step(LR, {})
    torch.testing.assert_close(whole, parts)


def test_padding_does_not_move_even_where_a_gradient_names_it():
    table = start()
    table.data[0] = 1.0
    ids, values = torch.tensor([[0, 2]]), torch.ones(2, DIM, dtype=torch.float64)
    table.grad = torch.sparse_coo_tensor(ids, values, table.shape, check_invariants=True)
    RowSparseAdamW({"t": table}, **SETTINGS).step(LR, {})
    assert (table[0] == 1.0).all()
    assert not torch.equal(table[2], start()[2])


def test_a_late_row_steps_no_further_than_the_learning_rate():
    table = nn.Parameter(torch.zeros(3, DIM))
    optimizer = RowSparseAdamW({"t": table}, betas=(0.9, 0.999), eps=1e-9, weight_decay=0.0)
    for step in range(500):
        row = 2 if step == 499 else 1
        value = torch.ones(1, DIM)
        table.grad = torch.sparse_coo_tensor(torch.tensor([[row]]), value, table.shape)
        optimizer.step(LR, {})
    torch.testing.assert_close(table[2].detach(), torch.full((DIM,), -LR))


def test_a_dense_gradient_is_refused():
    table = start()
    loss(table, torch.tensor([1, 2]), sparse=False).backward()
    with pytest.raises(TypeError, match="items has a dense gradient"):
        RowSparseAdamW({"items": table}, **SETTINGS).step(LR, {})


def test_tables_without_gradient_are_left_alone():
    table = start()
    RowSparseAdamW({"t": table}, **SETTINGS).step(LR, {})
    assert torch.equal(table, start())


def test_an_empty_batch_changes_nothing():
    table = start()
    loss(table, torch.zeros(3, dtype=torch.int64), sparse=True).backward()
    RowSparseAdamW({"t": table}, **SETTINGS).step(LR, {})
    assert torch.equal(table, start())
