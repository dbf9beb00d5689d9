"""Schema as published, the same bytes for the same seed, memory of one shard, refusals."""

import hashlib
import shutil
import signal
import subprocess
import sys
import tracemalloc

import pyarrow as pa
import pytest

from model.dataset.synthesizer import world as world_module
from model.dataset.synthesizer import write_synthetic_world
from model.dataset.synthesizer.published import ITEM_FEATURES, USER_LISTS, USER_SCALARS
from model.dataset.tencent_parquet import read_tencent_parquet
from model.errors import InputError
from tests.model.dataset.synthesizer.conftest import PARAMS

SMALL = PARAMS.model_copy(
    update={"num_users": 300, "num_items": 400, "num_candidates": 100, "users_per_shard": 100}
)


def _digests(root):
    return {
        path.relative_to(root).as_posix(): hashlib.md5(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_folders_are_those_of_the_release(world):
    assert sorted(path.name for path in world.root.iterdir()) == [
        "candidate",
        "indexer.pkl",
        "item_feat",
        "mm_emb",
        "seq",
        "user_feat",
    ]
    assert sorted(path.name for path in (world.root / "mm_emb").iterdir()) == [
        "emb_81_32_parquet",
        "emb_84_48_parquet",
        "emb_86_40_parquet",
    ]
    assert len(list((world.root / "seq").iterdir())) == 3  # 10,000 users in shards of 4,000


def test_columns_and_types_are_those_of_the_release(world):
    event = pa.struct(
        [("item_id", pa.int64()), ("action_type", pa.int32()), ("timestamp", pa.int64())]
    )
    assert world.table("seq").schema.equals(
        pa.schema({"user_id": pa.int64(), "seq": pa.list_(event)})
    )
    scalars = dict.fromkeys(USER_SCALARS, pa.int64())
    lists = dict.fromkeys(USER_LISTS, pa.list_(pa.int64()))
    users = world.table("user_feat").schema
    assert users.equals(pa.schema({"user_id": pa.int64(), **scalars, **lists}))
    items = world.table("item_feat").schema
    assert items.equals(
        pa.schema({"item_id": pa.int64(), **dict.fromkeys(ITEM_FEATURES, pa.int64())})
    )
    feature = pa.struct([("cold_start", pa.int32()), ("feature_value", pa.string())])
    candidates = world.table("candidate").schema
    expected = {"item_id": pa.int64(), "retrieval_id": pa.int32()}
    assert candidates.equals(pa.schema(expected | dict.fromkeys(ITEM_FEATURES, feature)))
    vectors = world.table("mm_emb/emb_81_32_parquet").schema
    assert vectors.equals(pa.schema({"anonymous_cid": pa.string(), "emb": pa.list_(pa.float32())}))


def test_ids_are_those_of_the_release(world):
    indexer, params = world.indexer, world.params
    assert set(indexer) == {"u", "i", "f", "a"}
    assert indexer["a"] == {1: 1, 0: 2}
    assert sorted(indexer["u"].values()) == list(range(1, params.num_users + 1))
    assert sorted(indexer["i"].values()) == list(range(1, params.num_items + 1))
    assert all(len(raw) == 13 and raw.startswith("user_") for raw in indexer["u"])
    assert all(20_000_000_000 <= raw < 20_010_000_000 for raw in indexer["i"])
    for name, values in indexer["f"].items():
        assert sorted(values.values()) == list(range(1, len(values) + 1))
        assert {raw // 10_000_000 for raw in values} == {int(name)}
    assert world.table("seq")["user_id"].to_pylist() == list(range(1, params.num_users + 1))
    candidates = world.table("candidate")
    assert candidates["retrieval_id"].to_pylist() == list(range(params.num_candidates))
    assert len(set(candidates["item_id"].to_pylist())) == params.num_candidates


def test_codes_are_in_the_vocabulary_and_unseen_values_are_raw(world):
    vocabulary = world.indexer["f"]
    items, candidates = world.table("item_feat"), world.table("candidate")
    cold = world.candidate_re_ids == 0
    strange = 0
    for name in ITEM_FEATURES:
        codes = set(vocabulary[name].values())
        assert set(items[name].drop_null().to_pylist()) <= codes
        for is_cold, cell in zip(cold, candidates[name].to_pylist(), strict=True):
            if cell["cold_start"] == 1:
                assert is_cold and int(cell["feature_value"]) not in vocabulary[name]
                strange += 1
            elif cell["cold_start"] == 0:
                assert int(cell["feature_value"]) in codes
            else:
                assert cell["feature_value"] is None
    assert strange > 0


def test_a_candidate_has_the_features_of_its_item(world):
    rows = {row["item_id"]: row for row in world.table("item_feat").to_pylist()}
    for re_id, row in zip(
        world.candidate_re_ids, world.table("candidate").to_pylist(), strict=True
    ):
        for name in ("102", "117") if re_id else ():
            text = row[name]["feature_value"]
            assert (int(text) if text else None) == rows[re_id][name]


def test_our_own_reader_takes_it(world):
    histories = read_tencent_parquet(world.root)
    assert len(histories.item_ids) == len(world.items)
    assert histories.num_known_items == world.params.num_items


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_synthetic_world(SMALL, seed, tmp_path / name)
    first = _digests(tmp_path / "a")
    assert first == _digests(tmp_path / "b")
    other = _digests(tmp_path / "c")
    assert not [name for name in first if first[name] == other[name]]


def test_the_size_of_a_shard_changes_users_but_not_items(tmp_path):
    """As its documentation says; each shard draws from its own stream."""
    write_synthetic_world(SMALL, 3, tmp_path / "a")
    write_synthetic_world(SMALL.model_copy(update={"users_per_shard": 300}), 3, tmp_path / "b")
    first, second = _digests(tmp_path / "a"), _digests(tmp_path / "b")
    for name, digest in first.items():
        if not name.startswith(("seq", "user_feat")):
            assert second[name] == digest, name
    assert len([name for name in second if name.startswith("seq")]) == 1


def test_memory_is_that_of_one_shard(tmp_path):
    def peak(users, name):
        params = SMALL.model_copy(update={"num_users": users, "users_per_shard": 150})
        tracemalloc.start()
        write_synthetic_world(params, 3, tmp_path / name)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(150, "warm up")
    assert peak(900, "six shards") < 1.5 * peak(150, "one shard")


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="not empty"):
        write_synthetic_world(SMALL, 3, tmp_path)


def test_more_candidates_than_items_are_refused(tmp_path):
    params = SMALL.model_copy(update={"num_candidates": 1000})
    with pytest.raises(InputError, match=r"num_candidates: 1,000 candidates.*400 items"):
        write_synthetic_world(params, 3, tmp_path / "world")


def test_a_full_disk_is_noticed_before_writing(tmp_path, monkeypatch):
    usage = shutil._ntuple_diskusage(100, 99, 1)
    monkeypatch.setattr("model.artifact.shutil.disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="the synthetic world needs about"):
        write_synthetic_world(SMALL, 3, tmp_path / "worlds" / "world")
    assert not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from model.dataset.synthesizer import world
from tests.model.dataset.synthesizer.test_world import SMALL
world._write_users = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
world.write_synthetic_world(SMALL, 3, sys.argv[1])
"""


def test_a_killed_writer_leaves_nothing_that_stops_the_next(tmp_path):
    folder = tmp_path / "world"
    done = subprocess.run([sys.executable, "-c", KILLED, folder], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not folder.exists()
    write_synthetic_world(SMALL, 3, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["world"]


def test_a_refused_writer_leaves_nothing(tmp_path, monkeypatch):
    def refuse(*args):
        raise InputError("no")

    monkeypatch.setattr(world_module, "_write_users", refuse)
    with pytest.raises(InputError, match="no"):
        write_synthetic_world(SMALL, 3, tmp_path / "world")
    assert not list(tmp_path.iterdir())


def test_a_file_that_comes_in_meanwhile_is_kept(tmp_path, monkeypatch):
    folder = tmp_path / "world"
    folder.mkdir()
    monkeypatch.setattr(
        world_module, "_write_users", lambda *args: (folder / "mine.txt").write_text("precious")
    )
    with pytest.raises(InputError, match="not empty"):
        write_synthetic_world(SMALL, 3, folder)
    assert (folder / "mine.txt").read_text() == "precious"


def test_an_empty_folder_behind_a_link_is_filled(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    write_synthetic_world(SMALL, 3, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "indexer.pkl").is_file()


def test_the_current_folder_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="the current one, which cannot be replaced"):
        write_synthetic_world(SMALL, 3, ".")
