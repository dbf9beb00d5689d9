"""Vectors of every modality: low-rank, tightly clustered, on the unit sphere, with gaps.

A vector is the sum of terms from coarse cluster down to item, each with the published spectrum, and
of one for what the item is advertised for, scaled to one length, plus a common mean; then it is
normalised. Modalities differ in how well they reflect clusters and styles, and in how many items
they misrepresent.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from model.dataset.csr import offsets_of
from model.dataset.synthesizer import published as world
from model.dataset.synthesizer.catalogue import FIRST_RAW_ID, Catalogue
from model.dataset.synthesizer.seeds import stream

_BYTES_PER_CHUNK = 1 << 26
_MICRO = 12  # neighbouring items with nearly the same vector
# Share of the variance between coarse clusters, clusters, styles, cells, neighbours, items, and
# what the items are advertised for.
_SHARES = {
    "sharp": np.array([0.66, 0.215, 0.03, 0.018, 0.014, 0.003, 0.06]),
    "blurred": np.array([0.51, 0.15, 0.13, 0.06, 0.07, 0.02, 0.06]),
}
# Exponent for the scale of few terms, which span fewer directions than they were drawn from.
_FLATTENED = 0.6
_MISSHOWN = (0.02, 0.18)  # items shown as another cluster's, first to last modality
_ALONE = 1e-6  # spread of a single term, but for rounding
_UNMATCHED = 0.004  # rows of items that are neither known nor candidates / rows
_COMMON_COVERAGE = 0.9  # correlation of the modalities' gaps
_POPULAR_COVERAGE = 0.15


@dataclass(frozen=True)
class ModalityMaker:
    """One modality of a world; ``order`` is its place among all of them."""

    name: str
    order: int
    num_modalities: int
    width: int
    rate: float
    catalogue: Catalogue
    seed: int

    def chunks(self) -> Iterator[pa.RecordBatch]:
        """Rows ``anonymous_cid`` (string), ``emb`` (list<float>), in no order of ids."""
        covered = self._covered()
        null = self._null_rows(covered)
        tables = self._tables()
        for index, (first, last) in enumerate(self._bounds()):
            rng = stream(self.seed, f"modality {self.name}", index)
            rows = first + np.flatnonzero(covered[first:last] | null[first:last])
            vectors = self._vectors(first, last, tables, rng)[rows - first]
            raw_ids = self.catalogue.raw_id[rows]
            strangers = round(_UNMATCHED * len(rows))
            raw_ids = np.concatenate([raw_ids, self._stranger_ids(strangers, index)])
            vectors = np.concatenate([vectors, vectors[:strangers]])
            missing = np.concatenate([null[rows], np.zeros(len(vectors) - len(rows), bool)])
            order = rng.permutation(len(vectors))
            yield _batch(raw_ids[order], vectors[order], missing[order])

    @property
    def num_chunks(self) -> int:
        """How many record batches there are."""
        return len(self._bounds())

    def _bounds(self) -> list[tuple[int, int]]:
        """Ranges of the catalogue that hold whole groups and fit in memory."""
        rows = max(1024, _BYTES_PER_CHUNK // (4 * max(self.width, len(world.SPECTRUM))))
        starts = np.flatnonzero(np.diff(self.catalogue.group, prepend=-1))
        wanted = np.arange(rows, len(self.catalogue), rows)
        inner = starts[np.searchsorted(starts, wanted).clip(max=len(starts) - 1)]
        bounds = np.unique(np.concatenate([[0], inner, [len(self.catalogue)]]))
        return list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))

    def _covered(self) -> np.ndarray:
        """(M,) bool: exactly ``rate`` of all items; whole groups but for one."""
        group = self.catalogue.group
        size = int(group[-1]) + 1
        common = stream(self.seed, "coverage").standard_normal(size)
        own = stream(self.seed, f"coverage {self.name}").standard_normal(size)
        score = _COMMON_COVERAGE * common + np.sqrt(1.0 - _COMMON_COVERAGE**2) * own
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        score += _POPULAR_COVERAGE * np.log1p(self.catalogue.expected[starts])
        order = np.argsort(-score, kind="stable")
        sizes = np.diff(starts, append=len(group))[order]
        room = round(self.rate * len(group)) - (np.cumsum(sizes) - sizes)
        shown = np.empty(size, np.int64)
        shown[order] = np.clip(room, 0, sizes)
        return np.arange(len(group)) - starts[group] < shown[group]

    def _null_rows(self, covered: np.ndarray) -> np.ndarray:
        """(M,) bool: items that have a row without a vector."""
        uncovered = np.flatnonzero(~covered)
        count = min(len(uncovered), round(world.NULL_VECTORS * covered.sum()))
        rng = stream(self.seed, f"null vectors {self.name}")
        null = np.zeros(len(covered), bool)
        null[rng.choice(uncovered, count, replace=False)] = True
        return null

    def _stranger_ids(self, count: int, index: int) -> np.ndarray:
        """Raw ids beyond those of the world's items; no two rows share one."""
        first = FIRST_RAW_ID + 2 * len(self.catalogue) + 10
        return first + index * (1 << 24) + np.arange(count)

    @property
    def _rank(self) -> int:
        return min(self.width, len(world.SPECTRUM))

    def _tables(self) -> dict[str, np.ndarray]:
        """Terms of coarse clusters, clusters, styles, cells, objective; projection and mean."""
        rng = stream(self.seed, f"modality tables {self.name}")
        spectrum = world.SPECTRUM[: self._rank]
        scale = np.sqrt(spectrum / spectrum.sum()).astype(np.float32)
        coarse_of_cluster = self.catalogue.coarse_of_cluster
        clusters = len(coarse_of_cluster)
        sizes = {
            "coarse": int(coarse_of_cluster[-1]) + 1,
            "cluster": clusters,
            "style": self.catalogue.num_styles,
            "cell": clusters * self.catalogue.num_styles,
        }
        flat = scale**_FLATTENED
        flat /= np.linalg.norm(flat)
        tables = {
            name: rng.standard_normal((size, self._rank), np.float32) * flat
            for name, size in sizes.items()
        }
        items = np.bincount(self.catalogue.cluster, minlength=clusters)
        _settle(tables["cluster"], flat, items)
        _settle(tables["coarse"], flat, np.bincount(coarse_of_cluster, weights=items))
        of_style = np.bincount(self.catalogue.style, minlength=len(tables["style"]))
        _settle(tables["style"], flat, of_style)
        tables["objective"] = flat * rng.choice([-1.0, 1.0], self._rank).astype(np.float32)
        basis, _ = np.linalg.qr(rng.standard_normal((self.width, self._rank)))
        mean = rng.standard_normal(self.width)
        tables["scale"] = scale
        tables["projection"] = basis.T.astype(np.float32)
        tables["mean"] = (mean / np.linalg.norm(mean)).astype(np.float32)
        return tables

    def _vectors(
        self, first: int, last: int, tables: dict[str, np.ndarray], rng: np.random.Generator
    ) -> np.ndarray:
        """(last - first, width) float32 of unit norm; items of one group have the same."""
        group = self.catalogue.group[first:last]
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        leader = first + starts
        place = self.order / max(1, self.num_modalities - 1)
        shares = (1.0 - place) * _SHARES["sharp"] + place * _SHARES["blurred"]
        weights = np.sqrt(shares).astype(np.float32)
        misshown = rng.random(len(leader)) < np.interp(place, (0.0, 1.0), _MISSHOWN)
        clusters = len(self.catalogue.coarse_of_cluster)
        styles = self.catalogue.num_styles
        cell = self.catalogue.cell[leader].astype(np.int64)
        cell = np.where(misshown, rng.integers(clusters * styles, size=len(leader)), cell)
        cluster = cell // styles
        micro = leader // _MICRO - first // _MICRO
        near = rng.standard_normal((int(micro[-1]) + 1, self._rank), np.float32) * tables["scale"]
        own = rng.standard_normal((len(leader), self._rank), np.float32) * tables["scale"]
        objective = 2.0 * self.catalogue.objective[leader].astype(np.float32) - 1.0
        latent = weights[0] * tables["coarse"][self.catalogue.coarse_of_cluster[cluster]]
        latent += weights[1] * tables["cluster"][cluster]
        latent += weights[2] * tables["style"][cell % styles]
        latent += weights[3] * tables["cell"][cell]
        latent += weights[4] * near[micro]
        latent += weights[5] * own
        latent += weights[6] * objective[:, None] * tables["objective"]
        latent *= np.sqrt(1.0 - world.MEAN_COSINE) / np.linalg.norm(latent, axis=1, keepdims=True)
        vectors = latent @ tables["projection"]
        vectors += np.float32(np.sqrt(world.MEAN_COSINE)) * tables["mean"]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.repeat(vectors, np.diff(starts, append=len(group)), axis=0)


def _settle(terms: np.ndarray, scale: np.ndarray, items: np.ndarray) -> None:
    """Give (N, rank) terms, in place, mean zero and the spread ``scale`` over all items.

    A few terms do not cancel by themselves, and would move the mean vector and the spectrum away
    from the published ones.
    """
    terms -= np.average(terms, axis=0, weights=items).astype(np.float32)
    spread = np.sqrt(np.average(np.square(terms), axis=0, weights=items)).astype(np.float32)
    terms *= np.divide(scale, spread, out=np.ones_like(scale), where=spread > _ALONE)


def _batch(raw_ids: np.ndarray, vectors: np.ndarray, missing: np.ndarray) -> pa.RecordBatch:
    lengths = np.where(missing, 0, vectors.shape[1])
    offsets = offsets_of(lengths).astype(np.int32)
    lists = pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(vectors[~missing].ravel()), mask=pa.array(missing)
    )
    ids = pa.array(raw_ids).cast(pa.string())
    return pa.RecordBatch.from_arrays([ids, lists], names=["anonymous_cid", "emb"])
