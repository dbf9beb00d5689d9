"""Compute a submission's shards in processes of their own.

``torchrun --nproc-per-node N -m model.inference shards --params F --data DIR --out FOLDER``
lets the champion recommend to all users, shard by shard, with the shards divided among the
processes; making the submission then only collects them (FOLDER is DIR/.resume/submission).
"""

import argparse
import logging
import os
import sys
from pathlib import Path

import torch

from model.artifact import require_folder
from model.dataset.recommendable import require_enough_candidates
from model.errors import INPUT_ERROR_EXIT, REFUSED, InputError
from model.inference.champion import beam_weight_of, champion_folder
from model.inference.index_cache import SEARCH_INDEX, with_index
from model.inference.inputs import InferenceInputs
from model.inference.recommender import prepare_recommender
from model.inference.shards import open_shards
from model.inference.submission_task import submission_task
from model.network.device import own_device
from model.params import Params
from model.parent_process import die_with_parent


def fill_shards(params: Params, data: Path, shard_folder: Path, device: torch.device) -> None:
    """Fill this process's part of the shards, as RANK and WORLD_SIZE in the environment say.

    Raises:
        InputError: no champion, or a user for whom ten items cannot be found: no shard is filled.
    """
    champion = champion_folder(data)
    inputs = InferenceInputs.load(data, champion, params.modality_embeddings.modalities)
    require_enough_candidates(
        inputs.interactions, inputs.statistics.popularity, params.cascade, of_everyone=True
    )
    beam_weight = beam_weight_of(champion, params.cascade)
    task = submission_task(inputs, params.cascade, beam_weight)
    shards = open_shards(shard_folder, task, inputs.interactions.num_users)
    if shards.missing():
        recommender = prepare_recommender(inputs, params.cascade, device)
        recommender, _ = with_index(recommender, data / SEARCH_INDEX)
        shards.fill(
            recommender,
            beam_weight=beam_weight,
            rank=int(os.environ.get("RANK", "0")),
            world_size=int(os.environ.get("WORLD_SIZE", "1")),
        )


def main(arguments: list[str] | None = None) -> int:
    """Fill the shards; return 2 after an input error, whose message is the last line."""
    parser = argparse.ArgumentParser(prog="python -m model.inference", description=__doc__)
    parser.add_argument("command", choices=["shards"])
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the shards")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        die_with_parent()  # a torchrun that is killed does not notify its processes
    try:
        device = own_device()
        params = Params.load(given.params)
        require_folder(given.out, writable=True)
        fill_shards(params, given.data, given.out, device)
    except InputError as error:
        logging.getLogger("onepiece").error("%s%s", REFUSED, error)
        return INPUT_ERROR_EXIT
    return 0


if __name__ == "__main__":
    sys.exit(main())
