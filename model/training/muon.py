"""Muon: momentum whose matrices are orthogonalised before they are applied.

Every matrix of a hidden layer is orthogonalised on its own: the projections stacked in one
parameter, and every expert's. Matrices of one shape go through Newton-Schulz in one batch.

Paper: 4 (reference: 6).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
TINY = 1e-7
ELEMENTS_AT_ONCE = 1 << 26  # of one batch of matrices: bounds the memory of a step


def orthogonalize(matrices: Tensor) -> Tensor:
    """Approximate the closest matrix with orthonormal rows (or columns, if there are fewer).

    Five Newton-Schulz steps leave singular values between about 0.7 and 1.2; bf16 on a GPU.

    Args:
        matrices: (N, rows, columns).

    Returns:
        The same shape and type.
    """
    x = matrices.to(torch.bfloat16) if matrices.is_cuda else matrices
    tall = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2) if tall else x
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + TINY)
    a, b, c = NEWTON_SCHULZ
    for _ in range(ITERATIONS):
        gram = x @ x.transpose(1, 2)
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return (x.transpose(1, 2) if tall else x).to(matrices.dtype)


class Muon:
    """Muon over named matrices, with decoupled weight decay.

    A step of a matrix W with gradient G: M <- lerp(M, G, 1 - momentum); U <- orthogonalize of
    lerp(G, M, momentum), times sqrt(max(1, rows / columns)); W <- (1 - lr * decay) W - lr * U.

    Args:
        parameters: name -> parameter and the number of equal blocks along its rows. (rows,
            columns) is one stack of blocks, (E, rows, columns) a stack per expert.
        momentum: share of the momentum that is kept.
        weight_decay: per step, times the learning rate.

    Raises:
        ValueError: a parameter that is neither 2-D nor 3-D, or whose rows do not divide.
    """

    def __init__(
        self,
        parameters: dict[str, tuple[nn.Parameter, int]],
        *,
        momentum: float,
        weight_decay: float,
    ) -> None:
        for name, (parameter, blocks) in parameters.items():
            if parameter.dim() not in (2, 3) or parameter.shape[-2] % blocks:
                shape = tuple(parameter.shape)
                raise ValueError(f"{name} of shape {shape} is not a stack of {blocks} matrices")
        self.parameters = parameters
        self.momentum, self.weight_decay = momentum, weight_decay
        self.momenta = {name: torch.zeros_like(p) for name, (p, _) in parameters.items()}

    @torch.no_grad()
    def step(self, lr: float, rates: Mapping[str, float]) -> None:
        """Update every parameter that has a gradient, at ``lr`` times its rate, 1 where unnamed."""
        for names in self._batches():
            directions = torch.cat([self._direction(name) for name in names])
            rows, columns = directions.shape[1:]
            reach = max(1.0, rows / columns) ** 0.5
            weights = [_matrices(*self.parameters[name]) for name in names]
            updates = orthogonalize(directions).split([len(weight) for weight in weights])
            for name, weight, update in zip(names, weights, updates, strict=True):
                own = lr * rates.get(name, 1.0)
                weight.mul_(1.0 - own * self.weight_decay).sub_(update, alpha=own * reach)

    def state_dict(self) -> dict[str, Tensor]:
        """``<name>.momentum`` of every parameter: the tensors themselves, no copies."""
        return {f"{name}.momentum": momentum for name, momentum in self.momenta.items()}

    def _direction(self, name: str) -> Tensor:
        """Update the momentum; returns Nesterov's look-ahead, (N, rows, columns)."""
        parameter, blocks = self.parameters[name]
        assert parameter.grad is not None
        momentum = self.momenta[name].lerp_(parameter.grad, 1.0 - self.momentum)
        return _matrices(parameter.grad.lerp(momentum, self.momentum), blocks)

    def _batches(self) -> Iterator[list[str]]:
        """Names of parameters whose matrices have one shape, as many as fit a batch."""
        by_shape: dict[tuple[int, int], list[str]] = defaultdict(list)
        for name, (parameter, blocks) in self.parameters.items():
            if parameter.grad is not None:
                rows, columns = parameter.shape[-2:]
                by_shape[rows // blocks, columns].append(name)
        for names in by_shape.values():
            batch: list[str] = []
            elements = 0
            for name in names:
                size = self.parameters[name][0].numel()
                if batch and elements + size > ELEMENTS_AT_ONCE:
                    yield batch
                    batch, elements = [], 0
                batch.append(name)
                elements += size
            yield batch


def _matrices(parameter: Tensor, blocks: int) -> Tensor:
    """A view (N, rows / blocks, columns) of the stacked matrices."""
    rows, columns = parameter.shape[-2:]
    return parameter.view(-1, rows // blocks, columns)
