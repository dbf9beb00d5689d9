"""Ten items for every user, validated and in the competition's format."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from model.artifact import NOT_FOUND, atomic_folder, open_table, read_json, write_json
from model.dataset.arrow import compute as pc
from model.dataset.interactions import Interactions
from model.dataset.recommendable import blocked_items
from model.errors import InputError
from model.inference.cascade import BACK_FILL, NUM_RECOMMENDATIONS, PATH_NAMES, Recommendations
from model.inference.filters import allowed_items
from model.inference.index_cache import with_index
from model.inference.inputs import InferenceInputs
from model.inference.recommender import prepare_recommender
from model.inference.shards import open_shards
from model.inference.submission_files import RESULT, SUMMARY, TABLE
from model.inference.submission_task import submission_task
from model.inference.validation import validate_recommendations
from model.params import CascadeParams

USERS_AT_ONCE = 50_000


@dataclass(frozen=True)
class Submission:
    """The recommendations file and its table.

    Attributes:
        recommendations: of all users, in the order of the input's users.
        user_ids: (U,) raw ids.
        raw_item_ids: (U * 10,) raw ids of the recommended items, user by user, best first.
        summary: counts for people and for Dagster.
        items_are_numbers: whether result.json has numbers as item ids, else strings; depends on
            all items of the data, not on the recommended ones.
    """

    recommendations: Recommendations
    user_ids: pa.Array
    raw_item_ids: pa.Array
    summary: dict[str, Any]
    items_are_numbers: bool

    def save(self, folder: Path) -> None:
        """Write result.json, recommendations.parquet and summary.json."""
        num_rows = len(self.raw_item_ids)
        with atomic_folder(folder, needed_bytes=num_rows * 60) as out:
            with (out / RESULT).open("w", encoding="utf-8") as file:
                self._write_result(file)
            self._write_table(out / TABLE)
            write_json(out / SUMMARY, self.summary)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the table, and the end of result.json.

        Raises:
            InputError: a file is missing or damaged, with its name.
        """
        table = open_table(Path(folder) / TABLE)
        shape = (-1, NUM_RECOMMENDATIONS)

        def column(name: str) -> np.ndarray:
            return table[name].to_numpy().reshape(shape)

        sids = table["sid"].combine_chunks()
        paths = pc.index_in(table["path"], pa.array(PATH_NAMES)).to_numpy().astype(np.int8)
        levels = sids.type.list_size
        return cls(
            recommendations=Recommendations(
                user_indices=column("user_index")[:, 0].astype(np.int64),
                item_ids=column("item_id"),
                scores=column("score"),
                path=paths.reshape(shape),
                sids=sids.flatten().to_numpy().reshape(-1, NUM_RECOMMENDATIONS, levels),
            ),
            user_ids=table["user_id"].combine_chunks().take(_firsts(len(table))),
            raw_item_ids=table["raw_item_id"].combine_chunks(),
            summary=read_json(Path(folder) / SUMMARY),
            items_are_numbers=_ends_with_a_number(Path(folder) / RESULT),
        )

    def _write_result(self, file: IO[str]) -> None:
        """The competition's format: ``{"user": [...], "top10s": [[...], ...]}``."""
        users, items = self.user_ids, self.raw_item_ids
        users = users.cast(pa.int64()) if _are_numbers(users) else users
        items = items.cast(pa.int64()) if self.items_are_numbers else items
        num_users = len(users)
        starts = range(0, num_users, USERS_AT_ONCE)
        file.write('{"user": [')
        for start in starts:
            names = users.slice(start, USERS_AT_ONCE).to_pylist()
            file.write((", " if start else "") + json.dumps(names)[1:-1])
        file.write('], "top10s": [')
        for start in starts:
            part = items.slice(start * NUM_RECOMMENDATIONS, USERS_AT_ONCE * NUM_RECOMMENDATIONS)
            lists = np.array(part.to_pylist(), object).reshape(-1, NUM_RECOMMENDATIONS).tolist()
            file.write((", " if start else "") + json.dumps(lists)[1:-1])
        file.write("]}\n")

    def _write_table(self, path: Path) -> None:
        """One row per user and rank."""
        made = self.recommendations
        writer = None
        for start in range(0, len(made.user_indices), USERS_AT_ONCE):
            rows = slice(start, start + USERS_AT_ONCE)
            users = np.repeat(np.arange(len(made.user_indices))[rows], NUM_RECOMMENDATIONS)
            levels = made.sids.shape[2]
            table = pa.table(
                {
                    "user_index": pa.array(made.user_indices[users].astype(np.int32)),
                    "user_id": self.user_ids.take(pa.array(users)),
                    "rank": np.resize(np.arange(1, NUM_RECOMMENDATIONS + 1), len(users)).astype(
                        np.int8
                    ),
                    "item_id": made.item_ids[rows].ravel(),
                    "raw_item_id": self.raw_item_ids.slice(start * NUM_RECOMMENDATIONS, len(users)),
                    "score": made.scores[rows].ravel(),
                    "path": pa.array(PATH_NAMES).take(pa.array(made.path[rows].ravel())),
                    "sid": pa.FixedSizeListArray.from_arrays(
                        pa.array(made.sids[rows].ravel()), levels
                    ),
                }
            )
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
        if writer:
            writer.close()


def make_submission(
    inputs: InferenceInputs,
    params: CascadeParams,
    device: torch.device,
    *,
    beam_weight: float,
    shard_folder: Path,
    index_folder: Path | None = None,
) -> Submission:
    """Recommend to every user.

    Resumes from the shards that an earlier run, or ``python -m model.inference`` under torchrun,
    has finished.

    Args:
        inputs: the recommender and its data.
        params: of the cascade.
        device: to compute on.
        beam_weight: of the evaluation report, as given or tuned there.
        shard_folder: keeps finished shards until the caller removes them.
        index_folder: keeps the search index, see :func:`~model.inference.index_cache.with_index`.

    Raises:
        InputError: a user for whom ten items cannot be found.
    """
    interactions, counts = inputs.interactions, inputs.statistics.counts.sum(axis=1)
    task = submission_task(inputs, params, beam_weight)
    shards = open_shards(shard_folder, task, interactions.num_users)
    if shards.missing():
        recommender, _ = with_index(prepare_recommender(inputs, params, device), index_folder)
        shards.fill(recommender, beam_weight=beam_weight, rank=0, world_size=1)
    made = shards.collect()
    blocked = blocked_items(interactions, params.blocked_items)
    allowed = allowed_items(interactions, counts, filter_cold=params.filter_cold, blocked=blocked)
    validate_recommendations(made, interactions, allowed, filter_history=params.filter_history)
    return describe(
        made, interactions, counts, beam_weight=beam_weight, search=shards.search_facts()
    )


def describe(
    made: Recommendations,
    interactions: Interactions,
    counts: np.ndarray,
    *,
    beam_weight: float,
    search: Mapping[str, Any],
) -> Submission:
    """Give validated recommendations their raw ids and a summary.

    Args:
        made: of all users.
        interactions: holds the raw ids.
        counts: (num_items + 1,) training events per item.
        beam_weight: that was used.
        search: properties of the search that was used, see ``VectorSearch.facts``.
    """
    filled = made.path == BACK_FILL
    return Submission(
        recommendations=made,
        user_ids=interactions.raw_user_ids,
        raw_item_ids=interactions.raw_item_ids.take(pa.array(made.item_ids.ravel() - 1)),
        summary={
            "users": len(made.user_indices),
            "distinct_items": len(np.unique(made.item_ids)),
            "back_filled_share": float(filled.mean()),
            "users_with_back_fill": int(filled.any(axis=1).sum()),
            "cold_share": float((counts[made.item_ids] == 0).mean()),
            "beam_weight": beam_weight,
            "search": dict(search),
        },
        items_are_numbers=_are_numbers(interactions.raw_item_ids),
    )


def _are_numbers(ids: pa.Array) -> bool:
    """Whether every raw id is written like an integer."""
    return pc.all(pc.match_substring_regex(ids, "^(0|[1-9][0-9]{0,17})$")).as_py()


def _ends_with_a_number(result: Path) -> bool:
    """Whether the last item id of result.json is a number, and therefore all are.

    Raises:
        InputError: the file is missing or damaged, with its name.
    """
    if not result.is_file():
        raise InputError(f"{result}: {NOT_FOUND}")
    with result.open("rb") as file:
        file.seek(max(0, result.stat().st_size - len(b"0]]}\n")))
        end = file.read()
    if not end.endswith(b"]]}\n"):
        raise InputError(f"{result}: truncated; materialise it again")
    return end[:1].isdigit()


def _firsts(num_rows: int) -> pa.Array:
    return pa.array(np.arange(0, num_rows, NUM_RECOMMENDATIONS))
