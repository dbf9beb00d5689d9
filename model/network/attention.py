"""HSTU's pointwise attention over a packed batch: SiLU weights, position and time bias.

For token i of a row and every token j <= i of the same row::

    out_i = sum_j SiLU(scale * q_i . k_j + position_bias[i - j] + time_bias[b_ij]) v_j

with b_ij the bucket of the seconds between the two (:func:`~model.network.attention_plan
.time_buckets`). Three implementations, equal but for rounding: Triton kernels on a GPU, numba
kernels on a CPU, and dense PyTorch elsewhere. The first two recompute the weights in backward, so
that no layer saves anything quadratic in the length. Only the numba kernels' plan does, for a time
bias and once for all layers: a byte per pair of tokens of a row.

Paper: section 3.2 (HSTU); the time bias, which the paper left out, is that of the published HSTU.
"""

from torch import Tensor

from model.errors import InputError
from model.network.attention_plan import AttentionPlan
from model.network.attention_reference import attend_dense
from model.network.backend import Backend, backend_for


def hstu_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: AttentionPlan,
    position_bias: Tensor | None,
    time_bias: Tensor | None,
    *,
    scale: float,
) -> Tensor:
    """Attend causally within each row; differentiable in q, k, v and both biases.

    Args:
        q: (T, H, E) queries, float32, float64, bfloat16 or float16; any strides.
        k: (T, H, E) keys, as ``q``.
        v: (T, H, E) values, as ``q``.
        plan: rows and times of these T tokens.
        position_bias: (P, H), by distance i - j; distances past P - 1 share the last row.
        time_bias: (N, H), by time bucket, N = ``plan.num_time_buckets``.
        scale: of the scores.

    Returns:
        (T, H, E) of q's dtype. 16-bit inputs are multiplied and added up in float32.

    Raises:
        InputError: the plan is of another batch, or has no timestamps or another N.
    """
    _check(q, plan, time_bias)
    attend = {"numba": _attend_numba, "triton": _attend_triton, "reference": attend_dense}
    return attend[_backend(q, plan)](q, k, v, plan, position_bias, time_bias, scale=scale)


def _backend(q: Tensor, plan: AttentionPlan) -> Backend:
    return "reference" if plan.num_tokens == 0 else backend_for(q)


def _attend_numba(q: Tensor, k: Tensor, v: Tensor, *args, **kwargs) -> Tensor:
    from model.network.attention_cpu import attend

    return attend(q, k, v, *args, **kwargs)


def _attend_triton(q: Tensor, k: Tensor, v: Tensor, *args, **kwargs) -> Tensor:
    from model.network.attention_triton import attend

    return attend(q, k, v, *args, **kwargs)


def _check(q: Tensor, plan: AttentionPlan, time_bias: Tensor | None) -> None:
    if len(q) != plan.num_tokens:
        raise InputError(
            f"attention: {len(q)} queries, but the plan is of {plan.num_tokens} tokens; "
            "call plan_attention for every batch"
        )
    if time_bias is None:
        return
    if plan.timestamps is None:
        raise InputError("attention: a time bias needs timestamps; give them to plan_attention")
    if len(time_bias) != plan.num_time_buckets:
        raise InputError(
            f"attention: the time bias has {len(time_bias)} rows, the plan "
            f"{plan.num_time_buckets} buckets; they must be equal"
        )
