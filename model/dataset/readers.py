"""Read raw files of any format into the store."""

import logging
from collections.abc import Callable
from pathlib import Path

from model.dataset.histories import Histories
from model.dataset.interactions import Interactions
from model.dataset.raw_data import RawData
from model.dataset.recbole import read_recbole
from model.dataset.repeated_events import count_repeated_events
from model.dataset.split import split_events
from model.dataset.tencent_jsonl import read_tencent_jsonl
from model.dataset.tencent_parquet import read_tencent_parquet
from model.dataset.user_draw import draw_users
from model.params import InteractionsParams

logger = logging.getLogger("onepiece")

_READERS: dict[str, Callable[[Path, Path | None], Histories]] = {
    "synthetic": read_tencent_parquet,
    "tencent_parquet": read_tencent_parquet,
    "tencent_jsonl": read_tencent_jsonl,
    "recbole": read_recbole,
}


def read_interactions(
    raw: RawData, params: InteractionsParams, seed: int, spool: Path | None = None
) -> Interactions:
    """Read every event, user and item, and hold the targets out.

    Args:
        raw: the files.
        params: the split.
        seed: draws the users that validate.
        spool: folder of the events' temporary files; the machine's temporary one by default.

    Raises:
        InputError: anything invalid in the files, with file, row or key and remedy.
    """
    raw.require_unchanged()
    read = _READERS[raw.format](raw.root, spool)
    validates = draw_users(read.raw_user_ids, params.split.validation_fraction, seed)
    split = split_events(read.offsets, read.action_types, params.split.strategy, validates)
    logger.info(
        "%d users, %d items, %d events; %d users validate, %d test",
        len(read.offsets) - 1,
        read.items.num_rows - 1,
        len(read.item_ids),
        (split.validation_event >= 0).sum(),
        (split.test_event >= 0).sum(),
    )
    repeated = count_repeated_events(
        read.offsets, read.item_ids, read.action_types, read.timestamps
    )
    if repeated:
        logger.info(
            "%d events occur more than once, with equal user, item, action and time", repeated
        )
    return Interactions(**vars(read), **vars(split))
