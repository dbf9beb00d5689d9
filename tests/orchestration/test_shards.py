"""Shards that processes of their own have filled, and the submission that collects them."""

import shutil
import sys

import pytest
import yaml

from assets.promotion import JudgedModel
from model.dataset.interactions import Interactions
from model.inference import shards as shards_module
from model.inference.champion import beam_weight_of
from model.inference.inputs import InferenceInputs
from model.inference.submission import make_submission
from orchestration.workspace import ROOT
from tests.model.small_network import CPU
from tests.orchestration.command import run
from tests.orchestration.small_shards import USERS_PER_SHARD


def _fill(world, out, *, ranks):
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command = [sys.executable, *(launcher if ranks > 1 else []), "-m"]
    command += ["tests.orchestration.small_shards", "shards", "--params", world.params_file]
    return run(*command, "--data", world.data, "--out", out, cwd=ROOT)


def _files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.npy")
    }


def _collected(world, folder):
    """The champion's submission, as the asset makes it."""
    params, champion = world.workspace.params, world.workspace.input_folder("champion")
    model = JudgedModel.load(champion)
    inputs = InferenceInputs.load(world.data, champion, params.modality_embeddings.modalities)
    return make_submission(
        inputs,
        params.cascade,
        CPU,
        beam_weight=beam_weight_of(model.folder, params.cascade),
        shard_folder=folder,
    )


def _refuse(*arguments, **options):
    raise AssertionError("a user was answered anew")


@pytest.fixture
def only_collecting(monkeypatch):
    monkeypatch.setattr(shards_module, "USERS_PER_SHARD", USERS_PER_SHARD)
    monkeypatch.setattr(shards_module, "recommend", _refuse)


def test_two_processes_fill_the_shards_of_one_for_the_submission(
    finished, tmp_path, only_collecting
):
    for ranks in (1, 2):
        done = _fill(finished, tmp_path / str(ranks), ranks=ranks)
        assert done.returncode == 0, done.stdout + done.stderr
    one, two = _files(tmp_path / "1"), _files(tmp_path / "2")
    assert len({name.split("/")[1] for name in one}) == 5  # 300 users
    assert one == two
    made = _collected(finished, tmp_path / "2")
    assert len(made.recommendations.item_ids) == 300


def test_shards_are_the_champions_whatever_was_trained_since(copied, only_collecting):
    for name in ("recommender_checkpoint", "codebook", "evaluation_report"):
        shutil.rmtree(copied.data / name)
    shard_folder = copied.data / ".resume" / "submission"
    done = _fill(copied, shard_folder, ranks=1)
    assert done.returncode == 0, done.stdout + done.stderr
    (task,) = shard_folder.iterdir()
    _collected(copied, shard_folder)
    assert [folder.name for folder in shard_folder.iterdir()] == [task.name]


def test_nobody_is_answered_where_ten_items_are_not_left(copied):
    interactions = Interactions.load(copied.data / "interactions")
    blocked = interactions.raw_item_ids.take(interactions.candidate_item_ids[9:] - 1)
    values = yaml.safe_load(copied.params_file.read_text())
    values["cascade"]["blocked_items"] = blocked.to_pylist()
    copied.params_file.write_text(yaml.safe_dump(values, sort_keys=False))
    shard_folder = copied.data / ".resume" / "submission"
    done = _fill(copied, shard_folder, ranks=1)
    assert done.returncode == 2
    assert "only 9 of 150 candidates may be recommended" in done.stdout.splitlines()[-1]
    assert not shard_folder.exists()


def test_without_a_champion_there_is_one_sentence(copied):
    (copied.data / "champion" / "champion").unlink()
    done = _fill(copied, copied.data / ".resume" / "submission", ranks=1)
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1].endswith("champion: not found; materialise champion")
