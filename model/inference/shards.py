"""Recommendations of many users, made shard by shard: resumable, and split over processes.

A shard is a run of consecutive users; which users share a batch depends on the shard alone, so
that the result is the same for one process and for many, and after a restart.
"""

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from model.artifact import atomic_folder, open_array, read_json, write_json
from model.errors import InputError
from model.inference.cascade import Recommendations, recommend
from model.inference.recommender import Recommender

USERS_PER_SHARD = 16_384
SEARCH = "search.json"  # properties of the search that a shard was made with
_FINGERPRINT_BYTES = 12
_TASK, _SHARD = re.compile(f"[0-9a-f]{{{2 * _FINGERPRINT_BYTES}}}"), re.compile(r"\.?shard-\d{6}")


@dataclass(frozen=True)
class Shards:
    """Finished shards of one task in a folder.

    Attributes:
        folder: holds one sub-folder per finished shard.
        num_users: users 0..num_users-1 get recommendations.
    """

    folder: Path
    num_users: int

    @property
    def count(self) -> int:
        return -(-self.num_users // USERS_PER_SHARD)

    def missing(self) -> list[int]:
        """Numbers of the unfinished shards."""
        return [shard for shard in range(self.count) if not self._path(shard).exists()]

    def users(self, shard: int) -> np.ndarray:
        """(N,) int64 the users of a shard."""
        begin = shard * USERS_PER_SHARD
        return np.arange(begin, min(begin + USERS_PER_SHARD, self.num_users))

    def fill(
        self, recommender: Recommender, *, beam_weight: float, rank: int, world_size: int
    ) -> None:
        """Make the missing shards that are assigned to this process.

        Args:
            recommender: the checkpoint.
            beam_weight: of the cascade.
            rank: of this process, 0..world_size-1.
            world_size: number of processes; shard s belongs to rank s mod world_size.
        """
        for shard in self.missing():
            if shard % world_size == rank:
                users = self.users(shard)
                made = recommend(recommender, "submission", users, beam_weight=beam_weight)
                self.save(shard, made, recommender.search.facts)

    def save(self, shard: int, made: Recommendations, search: Mapping[str, Any]) -> None:
        """Save a shard's recommendations, and the properties of the search behind them."""
        with atomic_folder(self._path(shard)) as out:
            write_json(out / SEARCH, search)
            for field in fields(Recommendations):
                np.save(out / f"{field.name}.npy", getattr(made, field.name))

    def collect(self) -> Recommendations:
        """All shards, in the order of the users.

        Raises:
            InputError: a shard is damaged; it is removed, so that the next run makes it again.
        """
        pieces = [self._open(shard) for shard in range(self.count)]
        columns = {
            field.name: np.concatenate([getattr(piece, field.name) for piece in pieces])
            for field in fields(Recommendations)
        }
        return Recommendations(**columns)

    def search_facts(self) -> dict[str, Any]:
        """Properties of the search; the same for all shards of a task.

        Raises:
            InputError: a shard is damaged; it is removed, so that the next run makes it again.
        """
        with self._removed_if_damaged(0) as folder:
            return read_json(folder / SEARCH)

    def _open(self, shard: int) -> Recommendations:
        with self._removed_if_damaged(shard) as folder:
            columns = {
                field.name: open_array(folder / f"{field.name}.npy")
                for field in fields(Recommendations)
            }
        return Recommendations(**columns)

    @contextmanager
    def _removed_if_damaged(self, shard: int) -> Iterator[Path]:
        folder = self._path(shard)
        try:
            yield folder
        except InputError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _path(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:06d}"


def open_shards(folder: Path, task: str, num_users: int) -> Shards:
    """Open the shards of one task; those of other tasks are removed, and nothing else.

    Args:
        folder: where shards are kept between runs; may hold other things too.
        task: fingerprint of everything that decides the recommendations.
        num_users: users to recommend to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.iterdir():
        if other.name != task and _is_task(other):
            shutil.rmtree(other, ignore_errors=True)
    return Shards(folder / task, num_users)


def _is_task(folder: Path) -> bool:
    """Whether a folder is named like a task and holds only shards, finished or begun."""
    if not _TASK.fullmatch(folder.name) or not folder.is_dir() or folder.is_symlink():
        return False
    try:
        return all(_SHARD.match(path.name) for path in folder.iterdir())
    except FileNotFoundError:  # another process has just removed it
        return False


def fingerprint(parts: Iterable[str | bytes | np.ndarray]) -> str:
    """A short hash over texts and arrays."""
    digest = hashlib.blake2b(digest_size=_FINGERPRINT_BYTES)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(np.ascontiguousarray(data).data if isinstance(data, np.ndarray) else data)
        digest.update(b"\x00")
    return digest.hexdigest()
