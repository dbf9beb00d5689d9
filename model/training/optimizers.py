"""One optimiser for each kind of parameter, stepped, clipped and saved as one.

Matrices between hidden states go to Muon, embedding tables with sparse gradients to a row-sparse
AdamW, everything else to torch's AdamW; 1-D parameters do not decay. Hidden matrices may all go
to AdamW, as in the paper's semantic ID study, or those of routed experts alone: Muon takes a step
of full length however few tokens an expert had.
"""

from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from model.training.distributed import total
from model.training.muon import Muon
from model.training.row_sparse_adamw import RowSparseAdamW
from model.training.tensor_state import copy_state

if TYPE_CHECKING:
    from model.params import OptimizerParams

EPSILON = 1e-9  # the paper's
TINY = 1e-6
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Network(Protocol):
    """What the optimisers need of a network."""

    def named_parameters(self) -> Iterable[tuple[str, nn.Parameter]]:
        """All parameters, each once."""
        ...

    def hidden_matrices(self) -> dict[str, tuple[nn.Parameter, int]]:
        """Name -> parameter and the number of equal blocks along its rows, for Muon."""
        ...

    def embedding_tables(self) -> dict[str, nn.Parameter]:
        """Name -> table with sparse gradients."""
        ...


class Optimizers:
    """The three optimisers, used as one.

    Args:
        muon: over the hidden matrices.
        adamw: over everything else.
        embedding: over the embedding tables.
        others: name -> parameter of ``adamw``.
        params: learning rates at their peak.
        rates: name -> factor on a parameter's learning rate, 1 where unnamed.
    """

    def __init__(
        self,
        muon: Muon,
        adamw: torch.optim.AdamW,
        embedding: RowSparseAdamW,
        others: dict[str, nn.Parameter],
        params: "OptimizerParams",
        rates: Mapping[str, float],
    ) -> None:
        self.muon, self.adamw, self.embedding = muon, adamw, embedding
        self.others, self.params, self.rates = others, params, rates

    def step(self, factor: float) -> None:
        """Update all parameters that have a gradient, at ``factor`` of the peak learning rates."""
        self.muon.step(factor * self.params.muon_lr, self.rates)
        for group in self.adamw.param_groups:
            group["lr"] = factor * self.params.adamw_lr * group["rate"]
        self.adamw.step()
        self.embedding.step(factor * self.params.embedding_lr, self.rates)

    def zero_grad(self) -> None:
        """Clear all gradients."""
        for parameter in self._parameters():
            parameter.grad = None

    @torch.no_grad()
    def clip(self, max_norm: float, sharded: Container[str] = ()) -> Tensor:
        """Scale all gradients so that their common norm is at most ``max_norm``.

        Sparse gradients are summed by row first: their norm is that of the dense equivalent.

        Args:
            max_norm: see above.
            sharded: names of the tables whose rows are divided among the processes.

        Returns:
            0-d, the norm before; not finite where a gradient is not.
        """
        values, elsewhere = [], []
        for parameter in self._parameters():
            grad = parameter.grad
            if grad is not None and not grad.is_sparse:
                values.append(grad)
        for name, table in self.embedding.tables.items():
            if table.grad is not None and table.grad.is_sparse:
                table.grad = table.grad.coalesce()
                (elsewhere if name in sharded else values).append(table.grad._values())
        norm = nn.utils.get_total_norm(values)
        if elsewhere:
            norm = (norm.square() + total(nn.utils.get_total_norm(elsewhere).square())).sqrt()
        factor = (max_norm / (norm + TINY)).clamp(max=1.0)
        for value in values + elsewhere:
            value.mul_(factor)
        return norm

    def state_dict(self) -> dict[str, Tensor]:
        """Flat, named by optimiser, parameter and part: the tensors themselves, no copies."""
        adamw = {
            f"{name}.{part}": self.adamw.state[parameter][part]
            for name, parameter in self.others.items()
            for part in MOMENTS
        }
        parts = {
            "muon": self.muon.state_dict(),
            "adamw": adamw,
            "embedding": self.embedding.state_dict(),
        }
        return {f"{kind}.{name}": t for kind, state in parts.items() for name, t in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Resume from a ``state_dict``, bit for bit.

        Raises:
            InputError: it is of another network.
        """
        copy_state(state, self.state_dict(), "the optimisers")

    def _parameters(self) -> list[nn.Parameter]:
        hidden = [parameter for parameter, _ in self.muon.parameters.values()]
        return [*hidden, *self.others.values(), *self.embedding.tables.values()]


def build_optimizers(
    network: Network, params: "OptimizerParams", rates: Mapping[str, float]
) -> Optimizers:
    """Assign every parameter of a network to one optimiser; its state is preallocated.

    Args:
        network: see above.
        params: of the optimisers.
        rates: name -> factor on a parameter's learning rate, 1 where unnamed.
    """
    hidden, tables = _given_to_muon(network, params), network.embedding_tables()
    others = {
        name: parameter
        for name, parameter in network.named_parameters()
        if name not in hidden and name not in tables
    }
    return Optimizers(
        Muon(hidden, momentum=params.muon_momentum, weight_decay=params.weight_decay),
        _adamw(others, params, rates),
        RowSparseAdamW(tables, betas=params.betas, eps=EPSILON, weight_decay=params.weight_decay),
        others,
        params,
        rates,
    )


def _given_to_muon(
    network: Network, params: "OptimizerParams"
) -> dict[str, tuple[nn.Parameter, int]]:
    hidden = {} if params.hidden_matrices == "adamw" else network.hidden_matrices()
    if params.routed_experts == "adamw":
        return {name: block for name, block in hidden.items() if block[0].dim() == 2}
    return hidden


def _adamw(
    others: dict[str, nn.Parameter], params: "OptimizerParams", rates: Mapping[str, float]
) -> torch.optim.AdamW:
    """Torch's fused AdamW (on the CPU seven times the speed of ``foreach``), state allocated."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in others.items():
        decay = params.weight_decay if parameter.dim() >= 2 else 0.0
        groups.setdefault((decay, rates.get(name, 1.0)), []).append(parameter)
    adamw = torch.optim.AdamW(
        [
            {"params": groups[decay, rate], "weight_decay": decay, "rate": rate}
            for decay, rate in sorted(groups, reverse=True)
        ],
        lr=params.adamw_lr,
        betas=params.betas,
        eps=EPSILON,
        fused=True,
    )
    for parameter in others.values():
        adamw.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return adamw
