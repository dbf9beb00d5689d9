"""What an HSTU layer does between its two linear layers, as one operation.

Norm(attention(SiLU q, SiLU k, SiLU v)) * SiLU u. One by one, these steps save five tensors for
backward and pass over memory a dozen times, which on a CPU costs more than the attention itself.
Fused they save two, the input and the attention's output, and write the input's gradient straight
into one tensor. Where there is no fast path they run one by one.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from model.network.attention import hstu_attention
from model.network.attention_plan import AttentionPlan
from model.network.backend import backend_for


def gated_attention(
    uvqk: Tensor,
    plan: AttentionPlan,
    position_bias: Tensor | None,
    time_bias: Tensor | None,
    norm_weight: Tensor | None,
    norm_bias: Tensor | None,
    *,
    num_heads: int,
    scale: float,
    eps: float,
) -> Tensor:
    """From the first linear layer's output to the second one's input.

    Args:
        uvqk: (T, 4 D) gate, values, queries and keys, before their SiLU.
        plan: as in :func:`~model.network.attention.hstu_attention`, like both biases and the scale.
        position_bias: (P, H) or None.
        time_bias: (N, H) or None.
        norm_weight: (D,) of the layer norm of the attention's output; None leaves the norm out.
        norm_bias: (D,), given where the weight is.
        num_heads: H, a divisor of D.
        scale: of the scores.
        eps: of the layer norm.

    Returns:
        (T, D).
    """
    biases = (position_bias, time_bias)
    known = uvqk.dtype in (torch.float32, torch.float64)
    fast = known and plan.num_tokens > 0 and backend_for(uvqk) == "numba"
    if fast and norm_weight is not None:
        return _GatedAttention.apply(
            uvqk.contiguous(), *biases, norm_weight, norm_bias, plan, num_heads, scale, eps
        )
    active = F.silu(uvqk)
    attended = hstu_attention(*_qkv(active, num_heads), plan, *biases, scale=scale).flatten(1)
    if norm_weight is not None:
        attended = F.layer_norm(attended, norm_weight.shape, norm_weight, norm_bias, eps)
    return attended * active[:, : attended.shape[1]]


class _GatedAttention(torch.autograd.Function):
    """Saves its input and the attention's output; backward recomputes SiLU and norm."""

    @staticmethod
    def forward(  # pyright: ignore
        ctx, uvqk, position_bias, time_bias, weight, bias, plan, num_heads, scale, eps
    ):
        from model.network import attention_cpu, gate_kernels
        from model.network.threads import torch_threads

        biases = (position_bias, time_bias)
        attended = attention_cpu.forward(
            _qkv(uvqk, num_heads), biases, plan, scale, activate=True
        ).flatten(1)
        y, stats = torch.empty_like(attended), attended.new_empty(len(attended), 2)
        inputs = (attended, uvqk.detach(), weight.detach(), bias.detach())
        with torch_threads():
            gate_kernels.norm_and_gate(
                tuple(x.numpy() for x in inputs), attended.numpy().dtype.type(eps),
                y.numpy(), stats.numpy(),
            )  # fmt: skip
        ctx.save_for_backward(uvqk, *biases, weight, bias, attended, stats)
        ctx.plan, ctx.num_heads, ctx.scale = plan, num_heads, scale
        return y

    @staticmethod
    def backward(ctx, grad):  # pyright: ignore
        from model.network import attention_cpu, gate_kernels
        from model.network.threads import torch_threads

        uvqk, position_bias, time_bias, weight, bias, attended, stats = ctx.saved_tensors
        slopes, attended_grad = torch.empty_like(uvqk), torch.empty_like(attended)
        dweight, dbias = (weight.new_zeros(gate_kernels.LOTS, len(weight)) for _ in range(2))
        given = (attended, uvqk, weight, bias)
        wanted = (attended_grad, slopes, dweight, dbias)
        with torch_threads():
            gate_kernels.norm_and_gate_backward(
                grad.contiguous().numpy(), tuple(x.detach().numpy() for x in given),
                stats.numpy(), tuple(x.numpy() for x in wanted),
            )  # fmt: skip
        heads = ctx.num_heads
        bias_grads = attention_cpu.backward(
            _qkv(uvqk, heads), (position_bias, time_bias), ctx.plan, ctx.scale,
            attended_grad.unflatten(1, (heads, -1)), _qkv(slopes, heads), activate=True,
        )  # fmt: skip
        return slopes, *bias_grads, dweight.sum(0), dbias.sum(0), None, None, None, None


def _qkv(uvqk: Tensor, num_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Views (T, H, E) of queries, keys and values."""
    _, v, q, k = (x.unflatten(1, (num_heads, -1)) for x in uvqk.chunk(4, dim=1))
    return q, k, v
