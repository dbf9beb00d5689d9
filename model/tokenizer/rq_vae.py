"""RQ-VAE: an autoencoder whose latent is residually quantised (Lee et al. 2022; TIGER, 2023).

A small one, trained from a seed. Codebooks are initialised by k-means of the first latents,
gradients use the straight-through estimator, and unused codes are reset to residuals of random
vectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.progress import track
from model.tokenizer.kmeans import fit_kmeans
from model.tokenizer.nearest import nearest_centroid

HIDDEN_DIM, LATENT_DIM = 128, 32
BATCH_SIZE, LEARNING_RATE = 1024, 1e-3
COMMITMENT_WEIGHT = 0.25
SEEDING_ROWS, SEEDING_ITERATIONS = 65_536, 10
_SMALLEST_SPREAD = 1e-30  # float32 holds weights in units of it


@dataclass(frozen=True)
class Fitted:
    """A trained RQ-VAE.

    Attributes:
        codebooks: per level (K, LATENT_DIM) float32.
        encoder: weights of the encoder by name, for :func:`encode`.
    """

    codebooks: tuple[np.ndarray, ...]
    encoder: dict[str, np.ndarray]


def encode(encoder: Mapping[str, np.ndarray], vectors: np.ndarray) -> np.ndarray:
    """(n, width) float32 -> (n, LATENT_DIM) float32."""
    hidden = np.maximum(vectors @ encoder["0.weight"].T + encoder["0.bias"], 0.0)
    return hidden @ encoder["2.weight"].T + encoder["2.bias"]


def fit(
    sample: np.ndarray,
    sizes: Sequence[int],
    *,
    epochs: int,
    generator: np.random.Generator,
    what: str,
) -> Fitted:
    """Train encoder, decoder and codebooks together.

    Args:
        sample: (n, width) float32.
        sizes: codes per level.
        epochs: over the sample.
        generator: decides weights, order and revived codes.
        what: named in the progress.
    """
    torch_generator = torch.Generator().manual_seed(int(generator.integers(2**31)))
    width = sample.shape[1]
    encoder = _network(width, LATENT_DIM, torch_generator)
    decoder = _network(LATENT_DIM, width, torch_generator)
    codebooks = _seed_codebooks(sample, encoder, sizes, generator)
    optimizer = torch.optim.Adam(
        [*encoder.parameters(), *decoder.parameters(), *codebooks], lr=LEARNING_RATE
    )
    vectors = torch.from_numpy(np.ascontiguousarray(sample, np.float32))
    for _ in track(range(epochs), total=epochs, what=f"{what}: RQ-VAE", unit="epoch"):
        used = [torch.zeros(size, dtype=torch.bool) for size in sizes]
        order = torch.randperm(len(vectors), generator=torch_generator)
        for rows in order.split(BATCH_SIZE):
            loss = _loss(vectors[rows], encoder, decoder, codebooks, used)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        _revive(vectors, encoder, codebooks, used, torch_generator)
    return Fitted(
        codebooks=tuple(codebook.detach().numpy().copy() for codebook in codebooks),
        encoder={name: value.numpy().copy() for name, value in encoder.state_dict().items()},
    )


def fit_in_any_unit(sample: np.ndarray, sizes: Sequence[int], **settings: Any) -> Fitted:
    """As :func:`fit`, for vectors that may be long, short or far from the origin.

    Losses and learning rate suit unit vectors, as the cosine metric has them. So the sample is
    centred and divided by the root mean square of the remaining lengths, in place (it may be too
    large for a copy), and the learned weights are scaled back: latents and codebooks are in the
    unit of the vectors that were given.
    """
    center = sample.mean(axis=0, dtype=np.float64)
    sample -= center.astype(np.float32)
    energy = np.einsum("ij,ij->", sample, sample, dtype=np.float64) / len(sample)
    scale = float(np.sqrt(energy))
    if scale < _SMALLEST_SPREAD:  # copies of one vector, which become zeros
        scale = 1.0
    sample /= np.float32(scale)
    fitted = fit(sample, sizes, **settings)
    weights = {name: value.astype(np.float64) for name, value in fitted.encoder.items()}
    entrance = weights["0.weight"] / scale
    in_units = {
        "0.weight": entrance,
        "0.bias": weights["0.bias"] - entrance @ center,
        "2.weight": weights["2.weight"] * scale,
        "2.bias": weights["2.bias"] * scale,
    }
    return Fitted(
        codebooks=tuple(codebook * np.float32(scale) for codebook in fitted.codebooks),
        encoder={name: value.astype(np.float32) for name, value in in_units.items()},
    )


def _network(width_in: int, width_out: int, generator: torch.Generator) -> nn.Sequential:
    first, second = nn.Linear(width_in, HIDDEN_DIM), nn.Linear(HIDDEN_DIM, width_out)
    for layer in (first, second):
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(first, nn.ReLU(), second)


def _seed_codebooks(
    sample: np.ndarray, encoder: nn.Sequential, sizes: Sequence[int], generator: np.random.Generator
) -> list[nn.Parameter]:
    with torch.no_grad():
        rows = np.sort(generator.permutation(len(sample))[:SEEDING_ROWS])
        residuals = encoder(torch.from_numpy(sample[rows])).numpy()
    codebooks = []
    for number, size in enumerate(sizes, 1):
        centroids = fit_kmeans(
            residuals,
            size,
            iterations=SEEDING_ITERATIONS,
            initialization="kmeans++",
            generator=generator,
            what=f"RQ-VAE: seeding level {number}",
        )
        codebooks.append(nn.Parameter(torch.from_numpy(centroids.copy())))
        residuals = residuals - centroids[nearest_centroid(centroids)(residuals)]
    return codebooks


def _loss(
    vectors: Tensor,
    encoder: nn.Sequential,
    decoder: nn.Sequential,
    codebooks: list[nn.Parameter],
    used: list[Tensor],
) -> Tensor:
    """Reconstruction, and at every level codebook and commitment; marks the codes in ``used``."""
    latents = encoder(vectors)
    residuals, quantized, pull = latents, torch.zeros_like(latents), torch.zeros(())
    for codebook, marks in zip(codebooks, used, strict=True):
        codes = _nearest(residuals.detach(), codebook.detach())
        marks[codes] = True
        chosen = F.embedding(codes, codebook)  # indexing would add gradients in any order
        pull = pull + F.mse_loss(chosen, residuals.detach())
        pull = pull + COMMITMENT_WEIGHT * F.mse_loss(residuals, chosen.detach())
        quantized = quantized + chosen
        residuals = residuals - chosen
    through = latents + (quantized - latents).detach()
    return F.mse_loss(decoder(through), vectors) + pull


def _nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """(n,) numbers of the nearest codes."""
    return torch.addmm(codebook.square().sum(dim=1) / 2.0, vectors, codebook.T, beta=-1.0).argmax(1)


@torch.no_grad()
def _revive(
    vectors: Tensor,
    encoder: nn.Sequential,
    codebooks: list[nn.Parameter],
    used: list[Tensor],
    generator: torch.Generator,
) -> None:
    """Give codes that an epoch did not use the residual of a random vector."""
    for level, marks in enumerate(used):
        unused = (~marks).nonzero()[:, 0]
        if len(unused) == 0:
            continue
        drawn = torch.randint(len(vectors), (len(unused),), generator=generator)
        residuals = encoder(vectors[drawn])
        for codebook in codebooks[:level]:
            residuals = residuals - codebook[_nearest(residuals, codebook)]
        codebooks[level][unused] = residuals
