"""One code path for one process and many: what they share, gathered by torch's collectives."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from model.network.device import own_device
from model.parent_process import die_with_parent

_PATIENCE = timedelta(hours=12)  # the others wait while the first writes tens of GB to a slow disk


@dataclass(frozen=True)
class World:
    """This process among all of a training.

    Attributes:
        rank: 0..size - 1; rank 0 writes.
        size: processes.
        device: of this one.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0


def join_world() -> World:
    """Join the processes that torchrun started; a process started alone is a world of one.

    One of many ends with its launcher: a torchrun that is killed does not notify its processes.

    Raises:
        InputError: there are GPUs, but fewer than processes on this machine.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    device = own_device()
    if size > 1 and not dist.is_initialized():
        die_with_parent()
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    return World(rank=int(os.environ.get("RANK", "0")), size=size, device=device)


def leave_world() -> None:
    """End the process group, where there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def total(values: Tensor) -> Tensor:
    """All-reduce a tensor of any shape to its sum over all processes."""
    if dist.is_initialized():
        values = values.clone()
        dist.all_reduce(values)
    return values


def same_everywhere(found: dict[str, float], world: World) -> dict[str, float]:
    """Give all processes the first one's figures: others may differ in the last bit."""
    if world.size == 1:
        return found
    values = torch.tensor(
        [value if world.is_first else 0.0 for value in found.values()],
        device=world.device,
        dtype=torch.float64,
    )
    return dict(zip(found, total(values).tolist(), strict=True))


def average_sparse_gradients(tables: Iterable[nn.Parameter]) -> None:
    """Average row-sparse gradients over the processes: only touched rows are sent.

    Args:
        tables: (N, D) each, with a sparse gradient or none; they get an average, coalesced.
    """
    if not dist.is_initialized():
        return
    for table in tables:
        grad = table.grad
        if grad is None:
            grad = torch.sparse_coo_tensor(
                torch.zeros(1, 0, dtype=torch.int64, device=table.device),
                table.new_zeros(0, table.shape[1]),
                table.shape,
            )
        grad = grad.coalesce()
        indices, values = gather_rows(grad.indices()[0], grad.values())
        table.grad = torch.sparse_coo_tensor(
            indices[None], values / dist.get_world_size(), table.shape
        ).coalesce()


def gather_rows(*columns: Tensor) -> tuple[Tensor, ...]:
    """Concatenate columns of all processes, in the order of the ranks.

    Args:
        columns: (N, ...) each, with one N for all columns of a process.

    Returns:
        (sum of all N, ...) of each column, of its dtype.
    """
    counts = _counts(columns[0])
    return tuple(_joined(column, counts) for column in columns)


def of_each_process(ids: Tensor) -> list[Tensor]:
    """(N,) int64 ids -> those of each process in the order of the ranks; N differs by process."""
    if not dist.is_initialized():
        return [ids]
    counts = _counts(ids)
    return list(_joined(ids, counts).split(counts))


def gather_columns(ids: Tensor, columns: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct negatives of all processes, differentiably.

    Args:
        ids: (C,) int64 distinct item ids of this process.
        columns: (C, D) floating, their vectors.
        labels: (N,) int64 into ``ids``.

    Returns:
        (C',) int64 ids ascending, (C', D) vectors and (N,) int64 labels into them.
    """
    if not dist.is_initialized():
        return ids, columns, labels
    counts = _counts(ids)
    all_ids = _joined(ids, counts)
    parts = cast("Tensor", _Gather.apply(_pad(columns, max(counts))))
    vectors = torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)])
    distinct, places = torch.unique(all_ids, return_inverse=True)
    first = torch.full_like(distinct, len(all_ids))
    first.scatter_reduce_(0, places, torch.arange(len(places), device=ids.device), "amin")
    return distinct, vectors[first], torch.searchsorted(distinct, ids[labels])


class _Gather(torch.autograd.Function):
    """(C, D) of this process -> (ranks, C, D) of all; its gradient is the sum of all of theirs."""

    @staticmethod
    def forward(ctx, column):  # pyright: ignore
        parts = column.new_empty(dist.get_world_size(), *column.shape)
        dist.all_gather(list(parts), column.contiguous())
        return parts

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyright: ignore
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[dist.get_rank()]


def _counts(column: Tensor) -> list[int]:
    """Rows of each process."""
    own = torch.tensor([len(column)], device=column.device)
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own)
    return torch.cat(parts).tolist()  # one by one, a GPU would be awaited for each


def _joined(column: Tensor, counts: list[int]) -> Tensor:
    """The processes' columns, of so many rows each, one after the other."""
    padded = _pad(column, max(counts))
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)])


def _pad(column: Tensor, rows: int) -> Tensor:
    missing = column.new_zeros(rows - len(column), *column.shape[1:])
    return torch.cat([column, missing])
