"""Item features: thirteen codes that reflect the hierarchy, with errors and gaps.

117 < 118 < 120 < 119   a nested taxonomy along the order of the items
112, 116                coarse cuts of the same order
114, 101                tables of clusters
100                     what an item is advertised for, where it is declared
102, 122                advertisers and accounts: uneven runs of items, nearly the same
121                     products: one or a few items
115                     like a price by cluster, mostly missing
"""

from dataclasses import dataclass

import numpy as np

from model.dataset.synthesizer.catalogue import Catalogue
from model.dataset.synthesizer.published import ITEM_FEATURES, vocabulary_size
from model.dataset.synthesizer.seeds import stream

_RAW_STEP = 10_000_000  # raw value = feature * 10^7 + v
_SPARE = 1.2  # raw values in use / values of training items
_TAXONOMY = ("119", "120", "118", "117")  # from fine to coarse
_CUTS = ("112", "116")
_MISFILED = 0.06  # items whose taxonomy is that of a random place
_MISTAKEN = 0.10  # codes of the other features drawn at random
_UNDECLARED = 0.8  # items whose 100 says nothing of what they are advertised for
# Share of cold items whose value training items do not have.
_UNSEEN = {"121": 0.6, "102": 0.1, "122": 0.1}
_UNSEEN_OTHERWISE = 0.01


@dataclass(frozen=True)
class Vocabulary:
    """Raw values of a feature: that of code c is at c - 1; no training item has ``spare`` ones."""

    values: np.ndarray
    spare: np.ndarray


def draw_vocabulary(feature: str, size: int, seed: int) -> Vocabulary:
    """Raw values in random order, so that codes say nothing."""
    universe = int(np.ceil(_SPARE * size)) + 1
    raw = stream(seed, f"vocabulary {feature}").permutation(universe) + int(feature) * _RAW_STEP
    return Vocabulary(raw[:size], raw[size:])


class ItemFeatureMaker:
    """Codes of any range of the catalogue; an item's codes are the same in every call."""

    def __init__(self, catalogue: Catalogue, num_items: int, seed: int):
        self.catalogue = catalogue
        self.seed = seed
        self.sizes = {name: vocabulary_size(name, num_items) for name in ITEM_FEATURES}
        rng = stream(seed, "item features")
        self._cuts = self._draw_cuts(rng)
        clusters = int(catalogue.coarse_of_cluster.size)
        styles = catalogue.num_styles
        self._tables = {
            "114": rng.integers(self.sizes["114"], size=clusters).repeat(styles),
            "101": rng.integers(self.sizes["101"], size=clusters).repeat(styles),
            "115": rng.integers(self.sizes["115"], size=clusters).repeat(styles),
        }
        self._labels = {name: rng.permutation(size) for name, size in self.sizes.items()}

    def _draw_cuts(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Where along the order of items (0..1) each feature changes its value."""
        cuts, finest = {}, _uneven_cuts(self.sizes[_TAXONOMY[0]], 1.0, rng)
        for name in _TAXONOMY:
            kept = rng.choice(len(finest), min(len(finest), self.sizes[name] - 1), replace=False)
            finest = finest[np.sort(kept)]
            cuts[name] = finest
        for name in _CUTS:
            cuts[name] = _uneven_cuts(self.sizes[name], 0.7, rng)
        cuts["102"] = _uneven_cuts(self.sizes["102"], 1.2, rng)
        wanted = self.sizes["122"] - 1
        shared = rng.choice(cuts["102"], min(wanted, len(cuts["102"])) * 9 // 10, replace=False)
        cuts["122"] = np.sort(np.concatenate([shared, rng.random(wanted - len(shared))]))
        cuts["121"] = np.sort(rng.random(self.sizes["121"] - 1))
        return cuts

    def codes(self, first: int, last: int) -> dict[str, np.ndarray]:
        """Codes of items first..last - 1, 0 where the item has none; (last - first,) int64 each.

        ``first`` must be a multiple of the chunk in which the whole catalogue is walked.
        """
        rng, size = stream(self.seed, "item codes", first), last - first
        place = self._places(first, last, rng)
        misfiled = rng.random(size) < _MISFILED
        filed = np.where(misfiled, rng.random(size), place)
        taxonomy_known = rng.random(size) < ITEM_FEATURES["117"][2]
        codes = {}
        for name, (_, _, coverage) in ITEM_FEATURES.items():
            if name == "100":
                half = self.sizes[name] // 2
                value = self.catalogue.objective[first:last] * half + rng.integers(half, size=size)
                undeclared = rng.random(size) < _UNDECLARED
                value = np.where(undeclared, rng.integers(2 * half, size=size), value)
            elif name in self._tables:
                value = self._tables[name][self.catalogue.cell[first:last]]
            else:
                value = np.searchsorted(self._cuts[name], filed if name in _TAXONOMY else place)
            value = self._labels[name][value]
            if name not in (*_TAXONOMY, "121"):
                mistaken = rng.random(size) < _MISTAKEN
                value = np.where(mistaken, rng.integers(self.sizes[name], size=size), value)
            nested = name in (*_TAXONOMY, "121")
            known = taxonomy_known if nested else rng.random(size) < coverage
            codes[name] = np.where(known, value + 1, 0)
        return codes

    def _places(self, first: int, last: int, rng: np.random.Generator) -> np.ndarray:
        """Places in 0..1, shuffled within each cluster, where only vectors tell items apart."""
        cluster = self.catalogue.cluster
        begins = np.searchsorted(cluster, cluster[first:last])
        ends = np.searchsorted(cluster, cluster[first:last], side="right")
        return (begins + (ends - begins) * rng.random(last - first)) / len(cluster)

    def unseen(self, codes: dict[str, np.ndarray], cold: np.ndarray) -> dict[str, np.ndarray]:
        """(N,) bool per feature: values of cold candidates that training items do not have."""
        rng = stream(self.seed, "unseen values")
        return {
            name: cold & (rng.random(len(cold)) < _UNSEEN.get(name, _UNSEEN_OTHERWISE)) & (code > 0)
            for name, code in codes.items()
        }


def _uneven_cuts(size: int, unevenness: float, rng: np.random.Generator) -> np.ndarray:
    """(size - 1,) ascending in 0..1, with log-normal gaps."""
    gaps = rng.lognormal(0.0, unevenness, size)
    return np.cumsum(gaps)[:-1] / gaps.sum()
