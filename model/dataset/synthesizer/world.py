"""Write a whole world: the item tables, then users shard by shard."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa

from model.artifact import atomic_folder, require_free_space
from model.dataset.synthesizer.behavior import Habits, choose_items, draw_habits, draw_users
from model.dataset.synthesizer.catalogue import Catalogue, make_catalogue, num_cold
from model.dataset.synthesizer.first_exposures import place_rare_items, rare_items
from model.dataset.synthesizer.indexer import write_indexer
from model.dataset.synthesizer.item_features import ItemFeatureMaker, Vocabulary, draw_vocabulary
from model.dataset.synthesizer.modalities import ModalityMaker
from model.dataset.synthesizer.published import MAX_LENGTH, USER_LISTS, USER_SCALARS
from model.dataset.synthesizer.seeds import stream
from model.dataset.synthesizer.tables import (
    candidate_columns,
    item_columns,
    part_path,
    sequence_columns,
    write_batches,
    write_table,
)
from model.dataset.synthesizer.timeline import draw_timeline
from model.dataset.synthesizer.user_features import profile_columns
from model.errors import InputError
from model.params import SyntheticWorldParams
from model.progress import track

_ITEMS_PER_FILE = 1 << 18
_USER_UNIVERSE = 1.35  # largest raw user number / users
_EVENT_BYTES, _ITEM_BYTES, _USER_BYTES = 13, 90, 60


def write_synthetic_world(params: SyntheticWorldParams, seed: int, folder: Path) -> None:
    """Write a world in TencentGR's public parquet layout; the same seed gives the same bytes.

    Memory holds the item tables and one shard of users, at any number of users. Every shard draws
    from a random stream of its own, so the users' bytes depend on ``users_per_shard`` as well as
    on the seed; the items do not.

    The folder is written atomically; leftovers of a writer that was killed are removed.

    Args:
        params: its sizes.
        seed: decides everything else.
        folder: receives ``seq/``, ``user_feat/``, ``item_feat/``, ``candidate/``, ``mm_emb/`` and
            ``indexer.pkl``; it must be empty or absent.

    Raises:
        InputError: the folder is in use or cannot be replaced, the sizes contradict each other, or
            the disk is too small.
    """
    folder = Path(folder).resolve()
    _check(params, folder)
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    require_free_space(nearest, _estimated_bytes(params), what="the synthetic world")
    with atomic_folder(folder) as out:
        _write_world(params, seed, out)
        _make_room(folder)


def _write_world(params: SyntheticWorldParams, seed: int, folder: Path) -> None:
    catalogue = make_catalogue(params, seed)
    vocabularies = _write_items(params, seed, catalogue, folder)
    _write_modalities(params, seed, catalogue, folder)
    _write_users(params, seed, catalogue, folder)
    for name, (size, _) in (USER_SCALARS | USER_LISTS).items():
        vocabularies[name] = draw_vocabulary(name, size, seed)
    universe = int(_USER_UNIVERSE * params.num_users) + 1
    raw_users = stream(seed, "raw user ids").permutation(universe)[: params.num_users]
    write_indexer(
        folder / "indexer.pkl",
        raw_users,
        catalogue.raw_ids_by_re_id(),
        {name: vocabulary.values for name, vocabulary in sorted(vocabularies.items())},
    )


def _check(params: SyntheticWorldParams, folder: Path) -> None:
    _require_replaceable(folder)
    if params.num_candidates - num_cold(params) > params.num_items:
        raise InputError(
            f"raw_data.synthetic_world.num_candidates: {params.num_candidates:,} candidates, of "
            f"which {num_cold(params):,} are cold, need more than the {params.num_items:,} items "
            "of num_items; lower num_candidates or raise cold_candidate_share"
        )


def _require_replaceable(folder: Path) -> None:
    """Refuse an existing folder that is not empty or cannot be replaced by another."""
    if not folder.exists():
        return
    if any(folder.iterdir()):
        raise InputError(
            f"{folder}: not empty; name another folder for the synthetic world, or remove it"
        )
    if folder.is_mount() or folder.samefile(os.curdir):
        raise InputError(
            f"{folder}: the folder of a disk or the current one, which cannot be replaced by the "
            "synthetic world; name a new folder in it"
        )


def _make_room(folder: Path) -> None:
    """Remove the folder if it is still empty, so that no file written meanwhile is lost."""
    if not folder.exists():
        return
    _require_replaceable(folder)
    folder.rmdir()


def _estimated_bytes(params: SyntheticWorldParams) -> int:
    total = params.num_items + num_cold(params)
    vectors = sum(
        width * params.modality_coverage[name] for name, width in params.modality_widths.items()
    )
    per_user = MAX_LENGTH * _EVENT_BYTES + _USER_BYTES
    return int(total * (4 * vectors + _ITEM_BYTES)) + params.num_users * per_user


def _write_items(
    params: SyntheticWorldParams, seed: int, catalogue: Catalogue, folder: Path
) -> dict[str, Vocabulary]:
    """Write item_feat/ and candidate/ in one walk over the catalogue."""
    maker = ItemFeatureMaker(catalogue, params.num_items, seed)
    (folder / "item_feat").mkdir()
    (folder / "candidate").mkdir()
    collected: dict[str, list[np.ndarray]] = {name: [] for name in maker.sizes}
    starts = range(0, len(catalogue), _ITEMS_PER_FILE)
    for index, first in enumerate(track(starts, total=None, what="writing items", unit="file")):
        part = slice(first, min(first + _ITEMS_PER_FILE, len(catalogue)))
        codes = maker.codes(part.start, part.stop)
        warm = ~catalogue.cold[part]
        columns = item_columns(
            catalogue.re_id[part][warm], {name: code[warm] for name, code in codes.items()}
        )
        write_table(part_path(folder / "item_feat", index), columns)
        for name, code in codes.items():
            collected[name].append(code[catalogue.candidate[part]])
    codes = {name: np.concatenate(pieces) for name, pieces in collected.items()}
    vocabularies = {name: draw_vocabulary(name, size, seed) for name, size in maker.sizes.items()}
    candidates = candidate_columns(
        catalogue.raw_id[catalogue.candidate],
        codes,
        maker.unseen(codes, catalogue.cold[catalogue.candidate]),
        vocabularies,
        stream(seed, "unseen raw values"),
    )
    write_table(part_path(folder / "candidate", 0), candidates)
    return vocabularies


def _write_modalities(
    params: SyntheticWorldParams, seed: int, catalogue: Catalogue, folder: Path
) -> None:
    names = sorted(params.modality_widths)
    for order, name in enumerate(names):
        width = params.modality_widths[name]
        maker = ModalityMaker(
            name=name,
            order=order,
            num_modalities=len(names),
            width=width,
            rate=params.modality_coverage[name],
            catalogue=catalogue,
            seed=seed,
        )
        chunks = track(
            maker.chunks(), total=maker.num_chunks, what=f"writing modality {name}", unit="file"
        )
        write_batches(folder / "mm_emb" / f"emb_{name}_{width}_parquet", chunks)


def _write_users(
    params: SyntheticWorldParams, seed: int, catalogue: Catalogue, folder: Path
) -> None:
    habits, rare = draw_habits(params.num_clusters, seed), rare_items(catalogue, seed)
    (folder / "seq").mkdir()
    (folder / "user_feat").mkdir()
    starts = range(0, params.num_users, params.users_per_shard)
    shards = track(starts, total=len(starts), what="writing users", unit="shard")
    for index, first in enumerate(shards):
        last = min(first + params.users_per_shard, params.num_users)
        rng = stream(seed, "users", index)
        sequences, profiles = make_shard(
            first, last, params.num_users, catalogue, habits, rare, rng
        )
        write_table(part_path(folder / "seq", index), sequences)
        write_table(part_path(folder / "user_feat", index), profiles)


def make_shard(
    first: int,
    last: int,
    num_users: int,
    catalogue: Catalogue,
    habits: Habits,
    rare: np.ndarray,
    rng: np.random.Generator,
) -> tuple[dict[str, pa.Array], dict[str, pa.Array]]:
    """Columns of seq/ and user_feat/ for users first..last - 1 of ``num_users``."""
    timeline = draw_timeline(last - first, rng)
    users = draw_users(last - first, rng)
    profiles: dict[str, pa.Array] = {
        "user_id": pa.array(np.arange(first + 1, last + 1, dtype=np.int64))
    }
    profiles |= profile_columns(users, rng)
    items = choose_items(timeline, users, catalogue, habits, rng)
    place_rare_items(items, timeline, catalogue, rare, first, num_users)
    real = timeline.real
    sequences = sequence_columns(
        first + 1,
        timeline.lengths,
        catalogue.re_id[items[real]],
        timeline.action_types[real],
        timeline.timestamps[real],
    )
    return sequences, profiles
