"""Beam search over legal semantic IDs: ours against the straightforward one, same results.

``python -m tests.benchmarks.bench_beam [--users 256] [--threads 2]`` builds a decoder of random
weights (2 x 4,096 codes, width 256, 8 layers, 660,000 items, histories of 100 events) and answers
with beam 20 and 384 semantic IDs. The reference, in PyTorch, repeats every user's memory for each
beam, projects its keys and values there in every layer, scores the whole level-2 vocabulary and
masks what is illegal; it is given as many users at once as suit it best.

Both take turns; the best turn of each counts. Prints users per second and per second of processor
time (which others on the machine disturb less), the ratios, and whether the results are the same.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model.inference.beam_search import beam_search
from model.inference.trie import Trie, build_trie
from model.network.backend import use_backend
from model.network.decoder import Level, SidDecoder

LENGTH = 101


def make_decoder(size: int, dim: int, layers: int) -> SidDecoder:
    """Random weights, in evaluation mode."""
    params: Any = SimpleNamespace(
        dim=dim,
        num_heads=8,
        dropout=0.0,
        max_length=LENGTH,
        position_bias=True,
        time_bias=False,
        normalize_attention=True,
        num_decoder_layers=layers,
        sid_dim=dim,
    )
    return SidDecoder(params, (size, size)).eval()


def expanded_search(
    decoder: SidDecoder, hidden: Tensor, legal: Tensor, *, beam_width: int, num_sids: int
) -> tuple[Tensor, Tensor]:
    """The reference: (B, num_sids) keys of semantic IDs and their log-probabilities.

    Args:
        decoder: of two levels.
        hidden: (B, L, dim) the encoder's output of rows of equal length.
        legal: (K_1, K_2) bool.
        beam_width: codes of level 1.
        num_sids: kept at the end.
    """
    first, second = cast("list[Level]", list(decoder.levels))
    query = _attend(first, hidden, hidden[:, -1:])
    logits = (query @ decoder.output_weight(1)[1:].T + decoder.output_bias(1)[1:])[:, 0]
    log_probs = logits.log_softmax(dim=1).masked_fill(~legal.any(dim=1), -torch.inf)
    best, codes = log_probs.topk(beam_width, dim=1)
    repeated = hidden.repeat_interleave(beam_width, dim=0)
    prefix = decoder.codes[0](codes.flatten() + 1)[:, None]
    query = _attend(second, repeated, second.query(repeated[:, -1:], prefix))
    logits = (query @ decoder.output_weight(2)[1:].T + decoder.output_bias(2)[1:])[:, 0]
    logits = logits.masked_fill(~legal[codes.flatten()], -torch.inf)
    scores = (best.flatten()[:, None] + logits.log_softmax(dim=1)).view(len(hidden), -1)
    found, places = scores.topk(num_sids, dim=1)
    beams, last = places // legal.shape[1], places % legal.shape[1]
    return codes.gather(1, beams) * legal.shape[1] + last, found


def in_pytorch(search: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    """Search with PyTorch's own operations alone."""
    with use_backend("reference"):
        search(*args, **kwargs)


def _attend(level: Any, memory: Tensor, query: Tensor) -> Tensor:
    """The layers of one level, every row with its own keys and values: (R, 1, dim)."""
    rows, length, dim = memory.shape
    for layer in level.layers:
        u, q = F.silu(layer.uq(layer.input_norm(query))).chunk(2, dim=-1)
        v, k = F.silu(layer.vk(memory)).chunk(2, dim=-1)
        q, k, v = (x.view(rows, -1, layer.num_heads, dim // layer.num_heads) for x in (q, k, v))
        scores = torch.einsum("rqhe,rlhe->rhql", q, k) / q.shape[-1] ** 0.5
        bias = layer.bias.position[torch.arange(length - 1, -1, -1)].T[None, :, None]
        attended = torch.einsum("rhql,rlhe->rqhe", F.silu(scores + bias), v).flatten(2)
        query = query + layer.output(layer.attention_norm(attended) * u)
    return level.norm(query)


def shared_search(
    decoder: SidDecoder, hidden: Tensor, trie: Trie, *, beam_width: int, num_sids: int
) -> tuple[Tensor, Tensor]:
    """Ours, in the reference's form."""
    offsets = torch.arange(len(hidden) + 1) * hidden.shape[1]
    state = decoder.start(hidden.flatten(0, 1), offsets, None)
    beams = beam_search(decoder, state, trie, beam_width=beam_width, num_sids=num_sids)[-1]
    sids = trie.prefixes[-1][beams.nodes]
    size = decoder.output_weight(2).shape[0] - 1
    return (sids[..., 0] - 1) * size + sids[..., 1] - 1, beams.log_probs


def _filled(keys: Tensor, legal: Tensor) -> Tensor:
    """(B, M) keys in ascending order, -1 in place of what is not legal."""
    return keys.where(legal, -1).sort().values


def best_rates(
    searches: dict[str, Callable[[], object]], users: dict[str, int], turns: int
) -> dict[str, tuple[float, float]]:
    """Users per second, and per second of processor time, of searches that take turns."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in searches}
    for turn in range(turns + 1):
        for name, search in searches.items():
            clock, processor = time.perf_counter(), time.process_time()
            search()
            if turn:  # the first one compiles and warms up
                spent = (time.perf_counter() - clock, time.process_time() - processor)
                seconds[name].append(spent)
    return {
        name: (users[name] / min(wall), users[name] / min(cpu))
        for name, spent in seconds.items()
        for wall, cpu in [zip(*spent, strict=True)]
    }


def main() -> None:
    """Print both speeds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=256)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--items", type=int, default=660_000)
    parser.add_argument("--beam-width", type=int, default=20)
    parser.add_argument("--num-sids", type=int, default=384)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reference-users", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--turns", type=int, default=4)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    decoder = make_decoder(given.size, given.dim, given.layers)
    codes = np.random.default_rng(0).integers(1, given.size + 1, (given.items, 2))
    trie = build_trie(codes, priority=np.zeros(len(codes)))
    legal = torch.zeros(given.size, given.size, dtype=torch.bool)
    legal[codes[:, 0] - 1, codes[:, 1] - 1] = True
    hidden = torch.randn(given.users, LENGTH, given.dim)
    beam_width = min(given.beam_width, given.size)  # more than there are, nobody can list
    quota = {"beam_width": beam_width, "num_sids": min(given.num_sids, beam_width * given.size)}
    pieces = sorted({min(n, given.users) for n in given.reference_users})
    users = {"ours": given.users} | {f"reference, {n} at once": n for n in pieces}
    searches: dict[str, Callable[[], object]] = {
        name: partial(in_pytorch, expanded_search, decoder, hidden[:number], legal, **quota)
        for name, number in users.items()
    }
    searches["ours"] = partial(shared_search, decoder, hidden, trie, **quota)
    with torch.inference_mode():
        rates = best_rates(searches, users, given.turns)
        few = max(pieces)
        keys, log_probs = shared_search(decoder, hidden, trie, **quota)
        reference_keys, reference = expanded_search(decoder, hidden[:few], legal, **quota)
    print(f"{trie.num_sids:,} legal semantic IDs, {given.threads} thread(s)")
    for name, (wall, cpu) in rates.items():
        print(f"{name:22s} {wall:8.1f} users/s  {cpu:8.1f} users per processor second")
    wall, cpu = (max(rates[name][n] for name in rates if name != "ours") for n in (0, 1))
    print(f"ratio to the best reference: {rates['ours'][0] / wall:.1f} in time, ", end="")
    print(f"{rates['ours'][1] / cpu:.1f} in processor time")
    # Where fewer exist than are asked for, both fill up, each with something of its own.
    legal_ones = reference > -torch.inf
    same = (_filled(keys[:few], legal_ones) == _filled(reference_keys, legal_ones)).float().mean()
    difference = (log_probs[:few] - reference)[legal_ones].abs().max()
    print(f"same semantic IDs: {same:.4f}; largest difference of log-probability {difference:.2e}")


if __name__ == "__main__":
    main()
