"""One loss for all heads: fused linear cross-entropy, which never materialises all logits.

``InfoNCE`` is this with item vectors as the weight, a semantic ID level with those of its codes.
Logits are float32 and computed for a few rows at a time, with their gradient, so that memory grows
with rows + classes instead of rows x classes.

Under bf16 autocast on a GPU the factors of these products are rounded to TF32 (10 bits of mantissa
where bf16 has 7), sums and logits stay float32: without tensor cores the products would cost more
than all layers together.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

# More on a GPU: each chunk of rows reads the whole weight and updates its whole gradient.
LOGITS_AT_ONCE = {"cpu": 4_000_000, "cuda": 1 << 26}


def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    row_weights: Tensor,
    *,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Sum over rows of ``row_weights * cross_entropy(x @ weight.T + bias, labels)``.

    Args:
        x: (N, D).
        weight: (M, D), one row per class.
        bias: (M,), None for none.
        labels: (N,) int64 in 0..M-1; any of these where the row has weight 0.
        row_weights: (N,) float32.
        label_smoothing: share of the target spread evenly over all classes.

    Returns:
        () float32.
    """
    lowered = x.is_cuda and torch.is_autocast_enabled(x.device.type)
    rounded = _rounded_to_tf32() if lowered else nullcontext()
    with torch.autocast(x.device.type, enabled=False), rounded:
        return _LinearCrossEntropy.apply(
            x.float(),
            weight.float(),
            None if bias is None else bias.float(),
            labels,
            row_weights.float(),
            label_smoothing,
        )


@contextmanager
def _rounded_to_tf32() -> Iterator[None]:
    """Let a GPU round the factors of float32 products to TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        row_weights: Tensor,
        smoothing: float,
    ) -> Tensor:
        wanted = ctx.needs_input_grad  # pyright: ignore[reportAttributeAccessIssue]
        grad_x = torch.empty_like(x) if wanted[0] else None
        grad_weight = torch.zeros_like(weight) if wanted[1] else None
        grad_bias = torch.zeros_like(bias) if bias is not None and wanted[2] else None
        total = x.new_zeros(())
        rows = max(1, LOGITS_AT_ONCE[x.device.type] // max(1, len(weight)))
        for begin in range(0, len(x), rows):
            part = slice(begin, begin + rows)
            logits = x[part] @ weight.T
            if bias is not None:
                logits += bias
            loss, grad = _cross_entropy(logits, labels[part], row_weights[part], smoothing)
            total = total + loss
            if grad_x is not None:
                torch.mm(grad, weight, out=grad_x[part])
            if grad_weight is not None:
                grad_weight.addmm_(grad.T, x[part])
            if grad_bias is not None:
                grad_bias += grad.sum(dim=0)
        ctx.save_for_backward(grad_x, grad_weight, grad_bias)  # pyright: ignore[reportArgumentType]
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_total: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        saved = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        scaled = [None if grad is None else grad * grad_total for grad in saved]
        return *scaled, None, None, None


def _cross_entropy(
    logits: Tensor, labels: Tensor, row_weights: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """The weighted sum, and its gradient, which overwrites the logits."""
    true = logits.gather(1, labels[:, None])[:, 0]
    normaliser = logits.logsumexp(dim=1)
    loss = normaliser - (1.0 - smoothing) * true
    if smoothing:
        loss = loss - smoothing * logits.mean(dim=1)
    grad = logits.sub_(normaliser[:, None]).exp_()
    if smoothing:
        grad -= smoothing / logits.shape[1]
    hit = torch.full_like(true, smoothing - 1.0)
    grad.scatter_add_(1, labels[:, None], hit[:, None])
    grad *= row_weights[:, None]
    return (loss * row_weights).sum(), grad


def inclusion_log_probability(
    log_q: Tensor, num_draws: int | Tensor, *, num_uniform: int | Tensor, num_items: int
) -> Tensor:
    """Log probability that an item is among a batch's distinct negatives: the logQ correction.

    An item of share q is missing from N draws and M uniform ones with probability
    (1 - q)^N (1 - 1/I)^M. For rare items the result is log q plus a constant, to which a softmax is
    invariant, and so equals the paper's correction; for frequent ones it allows for the fact that
    an item can be in a batch only once.

    Args:
        log_q: (C,) log shares of the training events.
        num_draws: N, targets of the batch; a number or ().
        num_uniform: M, likewise.
        num_items: I.
    """
    q = log_q.float().exp().clamp(max=1.0 - 1e-6)
    missing = num_draws * torch.log1p(-q) + num_uniform * math.log1p(-1.0 / max(2, num_items))
    return torch.log(-torch.expm1(missing.clamp(max=-1e-12)))
