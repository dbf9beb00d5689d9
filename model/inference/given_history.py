"""A history that is in no log: items named by their raw ids, alone or after a user's own events."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from model.dataset.csr import offsets_of
from model.dataset.features import ArrayColumn, FeatureTable, ScalarColumns
from model.dataset.interactions import Interactions, items_named
from model.dataset.item_statistics import ItemStatistics
from model.dataset.sequences import SequenceDataset
from model.errors import InputError
from model.inference.explain import find_user
from model.inference.recommender import Recommender

GIVEN_USER = "(given history)"
_SECONDS_APART = 60


def with_given_history(
    interactions: Interactions,
    statistics: ItemStatistics,
    raw_item_ids: Sequence[str],
    *,
    action: int,
    user: str | None = None,
) -> Interactions:
    """Replace all users by a single one, whose history ends with the given items.

    The given events are a minute apart and end with the last moment of the training data, or later
    where the user's own events do: their real times are unknown, and the network has been trained
    on no later time.

    Args:
        interactions: the data set, whose items, candidates and vocabularies are kept.
        statistics: of the training part, hold that moment.
        raw_item_ids: (N,) what the history ends with, oldest first.
        action: of these events.
        user: raw id of a user whose own events come first and whose features are used; None for a
            user without earlier events and features.

    Returns:
        One user, without held-out events: a submission sees the whole history.

    Raises:
        InputError: an item or the user is not in the data, or there is no event at all.
    """
    items = _items(interactions, raw_item_ids)
    index = None if user is None else find_user(interactions, user, "submission")
    begin, end = (0, 0) if index is None else interactions.offsets[index : index + 2].tolist()
    if not len(items) and begin == end:
        raise InputError("a history without any event; name an item, or a user who has some")
    own_times = np.asarray(interactions.timestamps[begin:end])
    times = _times(statistics, len(items), int(own_times[-1]) if len(own_times) else 0)
    own_action = -1 if index is None else int(interactions.target_actions[index])
    length = np.array([end - begin + len(items)])
    return replace(
        interactions,
        offsets=offsets_of(length),
        item_ids=np.concatenate([interactions.item_ids[begin:end], items]),
        action_types=np.concatenate(
            [interactions.action_types[begin:end], np.full(len(items), action, np.int8)]
        ),
        timestamps=np.concatenate([own_times, times]),
        train_end=length,
        validation_event=np.array([-1]),
        test_event=np.array([-1]),
        target_actions=np.array([own_action], np.int8),
        users=_rows(interactions.users, np.array([0, 0 if index is None else index + 1])),
        raw_user_ids=pa.array([user or GIVEN_USER], pa.large_string()),
    )


def answering(
    recommender: Recommender, interactions: Interactions, network_params: Mapping[str, Any]
) -> Recommender:
    """The same network, catalogue and search, for other users of the same items.

    Args:
        recommender: of all users, whose search index may be a cached one.
        interactions: of the others.
        network_params: that the network was built with.
    """
    known = recommender.dataset
    dataset = SequenceDataset(interactions, known.statistics, known.features, network_params)
    return replace(recommender, interactions=interactions, dataset=dataset)


def _items(interactions: Interactions, raw_ids: Sequence[str]) -> np.ndarray:
    """(N,) int32 item ids."""
    items = items_named(interactions, raw_ids)
    if not items.all():
        missing = raw_ids[int(items.argmin())]
        example = interactions.raw_item_ids[0].as_py()
        raise InputError(f"no item {missing!r} in this data; ids look like {example!r}")
    return items.astype(np.int32)


def _times(statistics: ItemStatistics, count: int, after: int) -> np.ndarray:
    """(N,) int64 a minute apart, none before ``after``."""
    last = max(int(statistics.bucket_boundaries[-1]) - 1, after + count * _SECONDS_APART, 0)
    return last - np.arange(count - 1, -1, -1, dtype=np.int64) * _SECONDS_APART


def _rows(table: FeatureTable, rows: np.ndarray) -> FeatureTable:
    """Some rows of a table, with its vocabularies."""
    return replace(
        table,
        num_rows=len(rows),
        scalars=ScalarColumns(list(table.scalars), table.scalars.matrix[rows]),
        arrays={name: _lists(column, rows) for name, column in table.arrays.items()},
    )


def _lists(column: ArrayColumn, rows: np.ndarray) -> ArrayColumn:
    begins, ends = np.asarray(column.offsets[rows]), np.asarray(column.offsets[rows + 1])
    pieces = [column.values[begin:end] for begin, end in zip(begins, ends, strict=True)]
    return ArrayColumn(offsets_of(ends - begins), np.concatenate(pieces))
