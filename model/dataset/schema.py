"""What a network must know about the data: vocabulary sizes and vector widths."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import pyarrow as pa

from model.dataset.arrow import update_digest
from model.dataset.interactions import Interactions
from model.dataset.item_statistics import ItemStatistics
from model.dataset.modality_embeddings import ModalityEmbedding


@dataclass(frozen=True)
class FeatureSchema:
    """Sizes that decide the shapes of embedding tables, and a hash of what their rows mean.

    Attributes:
        num_items: items are 1..num_items.
        item_scalars: largest code per scalar item feature.
        item_arrays: largest code per list item feature.
        user_scalars: largest code per scalar user feature.
        user_arrays: largest code per list user feature.
        num_time_buckets: of the item statistics.
        modality_widths: width of each modality's vectors.
        sid_sizes: codebook size per semantic ID level; empty without a codebook.
        vocabulary_hash: of raw item ids, of everything above but ``sid_sizes``, and of what codes
            stand for: two data sets of equal hash number items and features alike. It excludes the
            edges of the bins of RecBole's numbers, which move a little with every delivery.
    """

    num_items: int
    item_scalars: dict[str, int]
    item_arrays: dict[str, int]
    user_scalars: dict[str, int]
    user_arrays: dict[str, int]
    num_time_buckets: int
    modality_widths: dict[str, int]
    sid_sizes: tuple[int, ...]
    vocabulary_hash: str

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_json`."""
        return cls(**{**values, "sid_sizes": tuple(values["sid_sizes"])})

    def to_json(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        return {**asdict(self), "sid_sizes": list(self.sid_sizes)}


def describe_features(
    interactions: Interactions,
    statistics: ItemStatistics,
    embeddings: Mapping[str, ModalityEmbedding],
    sid_sizes: Sequence[int] = (),
) -> FeatureSchema:
    """The schema of a data set.

    Args:
        interactions: gives items, users and their features.
        statistics: gives the time buckets.
        embeddings: the modalities.
        sid_sizes: codebook size per level; empty for a network without a decoder.
    """
    items, users = interactions.items, interactions.users
    sizes = {
        "num_items": interactions.num_items,
        "item_scalars": {name: items.vocabulary_sizes[name] for name in items.scalars},
        "item_arrays": {name: items.vocabulary_sizes[name] for name in items.arrays},
        "user_scalars": {name: users.vocabulary_sizes[name] for name in users.scalars},
        "user_arrays": {name: users.vocabulary_sizes[name] for name in users.arrays},
        "num_time_buckets": statistics.num_time_buckets,
        "modality_widths": {name: embeddings[name].width for name in sorted(embeddings)},
    }
    meanings = {"items": items.vocabulary_digests, "users": users.vocabulary_digests}
    hashed = sizes | ({"meanings": meanings} if any(meanings.values()) else {})
    digest = hashlib.blake2b(json.dumps(hashed, sort_keys=True).encode(), digest_size=16)
    for chunk in pa.chunked_array([interactions.raw_item_ids]).chunks:
        update_digest(digest, chunk)
    sids = tuple(int(size) for size in sid_sizes)
    return FeatureSchema(**sizes, sid_sizes=sids, vocabulary_hash=digest.hexdigest())
