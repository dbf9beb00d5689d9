"""Does the mixture of experts stay in balance through a whole schedule, and does it learn?

    python -m tests.benchmarks.bench_moe_balance --steps 400 --plot balance.png

Tokens come from clusters of Zipf popularity, in sequences that keep to a few clusters; the target
is a random function of its own for each cluster. Trained with the project's optimisers and cosine
schedule: without balancing, with the sequence loss alone, with the bias alone, and with both means
as in ``params.yaml``; a dense layer of the same active size beside them. Prints the Gini of the
loads (lowest and highest from the very first step, and at the end) and the last losses.
"""

import argparse
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.network.moe import SparseMoE, SwiGLU
from model.training.optimizers import build_optimizers
from model.training.schedule import learning_rate_factor

DIM, EXPERTS, TOP_K, CLUSTERS, ROWS, LENGTH, WARMUP = 64, 64, 3, 256, 24, 40, 0.1
LOW, HIGH = 0.05, 0.4
OPTIMIZER: Any = SimpleNamespace(
    hidden_matrices="muon",
    muon_lr=0.02,
    muon_momentum=0.95,
    routed_experts="muon",
    adamw_lr=0.004,
    embedding_lr=0.004,
    betas=(0.9, 0.98),
    weight_decay=1e-5,
)


class World:
    """Clusters with a centre and a linear map each."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.centres = self.normal(CLUSTERS, DIM)
        self.maps = self.normal(CLUSTERS, DIM, DIM) / DIM**0.5
        self.popularity = 1.0 / torch.arange(1, CLUSTERS + 1)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(*shape, generator=self.generator)

    def batch(self) -> tuple[Tensor, Tensor]:
        """Tokens and targets, (ROWS * LENGTH, DIM) each."""
        favourites = torch.multinomial(
            self.popularity.expand(ROWS, -1), 6, generator=self.generator
        )
        places = torch.randint(0, 6, (ROWS, LENGTH), generator=self.generator)
        clusters = favourites.gather(1, places).flatten()
        x = F.layer_norm(self.centres[clusters] + 0.5 * self.normal(len(clusters), DIM), (DIM,))
        return x, torch.einsum("td,tde->te", x, self.maps[clusters])


class Network(nn.Module):
    """One layer behind a norm, as in the project's network, with what the optimisers ask of it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(DIM)
        self.layer = layer

    def hidden_matrices(self) -> dict[str, tuple[nn.Parameter, int]]:
        """Every projection on its own; the gate and the norm stay with AdamW."""
        return {
            name: (parameter, 2 if name.endswith("w1") else 1)
            for name, parameter in self.named_parameters()
            if name.endswith(("w1", "w2"))
        }

    def embedding_tables(self) -> dict[str, nn.Parameter]:
        """None."""
        return {}


def train(layer: nn.Module, steps: int) -> tuple[list[float], list[float]]:
    """Losses and Ginis by step."""
    world, network = World(), Network(layer)
    optimizers = build_optimizers(network, OPTIMIZER, {})
    rows = torch.arange(ROWS).repeat_interleave(LENGTH)
    losses, ginis = [], []
    for step in range(steps):
        tokens, target = world.batch()
        x = network.norm(tokens)
        moe = layer if isinstance(layer, SparseMoE) else None
        out, balance = moe(x, rows, ROWS) if moe else (layer(x), torch.zeros(()))
        loss = F.mse_loss(out, target)
        optimizers.zero_grad()
        (loss + balance).backward()
        optimizers.clip(1.0)
        optimizers.step(learning_rate_factor(step, steps, WARMUP, "cosine"))
        losses.append(loss.item())
        if moe:
            moe.end_step()
            ginis.append(moe.gini().item())
    return losses, ginis


def mixture(loss: float, step: float) -> SparseMoE:
    """64 experts, top 3, 1 shared."""
    return SparseMoE(DIM, DIM, EXPERTS, TOP_K, 1, "softmax", loss, step)


def plot(curves: dict[str, tuple[list[float], list[float]]], path: str) -> None:
    """Gini above, loss below."""
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(8, 7))
    for name, (losses, ginis) in curves.items():
        smooth = torch.tensor(losses).unfold(0, 10, 1).mean(1)
        (line,) = below.plot(range(9, len(losses)), smooth, label=name)
        if ginis:
            above.plot(ginis, color=line.get_color())
    above.axhspan(LOW, HIGH, alpha=0.1)
    above.set_ylabel("Gini of the loads")
    below.set(xlabel="step", ylabel="loss", yscale="log")
    below.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")


def _shares(ginis: list[float]) -> str:
    if not ginis:
        return ""
    inside = sum(LOW <= gini <= HIGH for gini in ginis) / len(ginis)
    return (
        f"  Gini {min(ginis):.2f} to {max(ginis):.2f}, last {ginis[-1]:.2f}, "
        f"{inside:.0%} of the steps in {LOW}..{HIGH}"
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plot", default="")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    layers = {
        "dense of the same active size": lambda: SwiGLU(DIM, (TOP_K + 1) * DIM),
        "no balancing": lambda: mixture(0.0, 0.0),
        "loss 0.01": lambda: mixture(0.01, 0.0),
        "bias step 0.3": lambda: mixture(0.0, 0.3),
        "loss 0.01, bias step 0.3": lambda: mixture(0.01, 0.3),
    }
    curves = {}
    for name, make in layers.items():
        torch.manual_seed(0)
        curves[name] = losses, ginis = train(make(), given.steps)
        print(f"{name:32s} loss {sum(losses[-20:]) / 20:.4f}{_shares(ginis)}", flush=True)
    if given.plot:
        plot(curves, given.plot)


if __name__ == "__main__":
    main()
