"""What growth costs when the encoder was retrained: the same new items, three ways.

``python -m tests.benchmarks.bench_growth --params params.yaml --data DIR --other FOLDER`` reads the
demo's artefacts from DIR (``onepiece materialize fused_embeddings``) and trains a second encoder
into FOLDER, with another seed (what is there is not trained again). Two thirds of the items are
published by the first encoder; the rest is added with vectors of the first, with those of the
second rotated back into the generation's space, and with those of the second as they are.

Prints how far published items lie from their centroids, how many new items get the first code that
the first encoder gives them, how many of an item's ten nearest neighbours share its first code,
and how many next items of users do.
"""

import argparse
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from model.dataset.fused_embeddings import FusedEmbeddings
from model.dataset.interactions import Interactions
from model.dataset.item_features import ItemFeatureStore
from model.inference.embedding import embed_items
from model.network.checkpoint import Checkpoint
from model.params import Params
from model.tokenizer import growth
from model.tokenizer.build import build_codebook
from model.tokenizer.codebook import Codebook
from model.training import ENCODER
from model.training.distributed import join_world
from model.training.inputs import TrainingInputs
from model.training.task import train

PUBLISHED_SHARE = 2 / 3


def vectors_of_another_encoder(params: Params, data: Path, folder: Path) -> FusedEmbeddings:
    """Train it, if it is not there, and embed all items."""
    inputs = TrainingInputs.load(data, params, ENCODER)
    if not folder.exists():
        train(
            inputs,
            params,
            ENCODER,
            join_world(),
            state_folder=folder.with_name(f"{folder.name}.state"),
            out=folder,
            events_folder=folder.with_name(f"{folder.name}.events"),
            interrupted=lambda: False,
        )
    device = torch.device("cpu")
    features = ItemFeatureStore(inputs.interactions, inputs.statistics, inputs.embeddings, device)
    return embed_items(Checkpoint.load(folder), features, device)


def grow(
    first: FusedEmbeddings,
    second: FusedEmbeddings,
    published: np.ndarray,
    interactions: Interactions,
    params: Params,
) -> dict[str, Codebook]:
    """The codebook of the published items, extended to all in each of the three ways."""
    settings = params.codebook.model_copy(update={"per_modality": False})
    some = FusedEmbeddings(first.item_ids[published], first.matrix[published])
    with tempfile.TemporaryDirectory() as folder:
        frozen = Path(folder) / "codebook"
        build_codebook(some, [], interactions, settings, params.seed).save(frozen)
        settings = settings.model_copy(update={"frozen_from": str(frozen)})

        def extended(vectors: FusedEmbeddings) -> Codebook:
            return build_codebook(vectors, [], interactions, settings, params.seed)

        ways = {
            "the same encoder": extended(first),
            "another, rotated back": extended(second),
        }
        with mock.patch.object(growth, "rotation_back", lambda *_: None):
            ways["another, as it is"] = extended(second)
    return ways


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--other", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    params = Params.load(given.params)
    first = FusedEmbeddings.load(given.data / "fused_embeddings")
    interactions = Interactions.load(given.data / "interactions")
    reseeded = params.model_copy(update={"seed": given.seed})
    second = vectors_of_another_encoder(reseeded, given.data, given.other)
    count = len(first.item_ids)
    drawn = np.random.default_rng(params.seed).permutation(count)
    published = np.sort(drawn[: int(PUBLISHED_SHARE * count)])
    ways = grow(first, second, published, interactions, params)
    new = np.setdiff1d(first.item_ids, first.item_ids[published])
    expected = ways["the same encoder"].codes[new, 0]
    print("| vectors | distance of the published | first codes kept | neighbours | next items |")
    print("| --- | --- | --- | --- | --- |")
    for name, codebook in ways.items():
        row = codebook.report[-1]
        kept = (codebook.codes[new, 0] == expected).mean()
        near = row["quality"]["neighborhood"]["sid1"]["recall@10"]
        following = row["quality"]["cooccurrence"]["sid1"]["share"]
        distance = row["growth"]["published_distance"]
        print(f"| {name} | {distance:.3f} | {kept:.3f} | {near:.3f} | {following:.3f} |")


if __name__ == "__main__":
    main()
