"""Who is drawn depends on the seed and on nobody else."""

import numpy as np
import pyarrow as pa
import pytest

from model.dataset import user_draw
from model.dataset.raw_data import RawData
from model.dataset.readers import read_interactions
from model.dataset.user_draw import draw_users
from model.params import InteractionsParams

IDS = pa.array([f"user_{number:08d}" for number in range(20_000)], pa.large_string())


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.999])
def test_as_many_as_asked_within_chance(share):
    spread = np.sqrt(share * (1 - share) / len(IDS))
    assert abs(draw_users(IDS, share, 42).mean() - share) < 4 * spread


def test_everybody():
    assert draw_users(IDS, 1.0, 0).all()


def test_neither_order_nor_company_changes_who_is_drawn(monkeypatch):
    drawn = draw_users(IDS, 0.1, 7)
    order = np.random.default_rng(0).permutation(len(IDS))[:9_000]
    monkeypatch.setattr(user_draw, "_AT_ONCE", 1_234)
    np.testing.assert_array_equal(draw_users(IDS.take(pa.array(order)), 0.1, 7), drawn[order])


def test_a_smaller_share_is_part_of_a_larger_one():
    assert (draw_users(IDS, 0.1, 3) <= draw_users(IDS, 0.3, 3)).all()


@pytest.mark.parametrize("seed", [1, 2**64 - 1, 2**70 + 5])
def test_seeds_draw_independently(seed):
    both = draw_users(IDS, 0.5, 0) & draw_users(IDS, 0.5, seed)
    assert abs(both.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / len(IDS))


def _validating(folder, users):
    """Raw ids of those who validate, of a data set in which they stand in this order."""
    folder.mkdir()
    rows = [f"{user}\ti{event}\t{event + 1}" for user in users for event in range(3)]
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (folder / "some.inter").write_text("\n".join([header, *rows]) + "\n")
    params = {"split": {"strategy": "leave_one_out", "validation_fraction": 0.4}}
    store = read_interactions(
        RawData(format="recbole", root=folder, files=()),
        InteractionsParams.model_validate(params),
        seed=5,
    )
    return set(store.raw_user_ids.filter(pa.array(store.validation_event >= 0)).to_pylist())


def test_a_user_who_validated_still_does_in_the_next_delivery(tmp_path):
    users = [f"u{number}" for number in range(100)]
    before = _validating(tmp_path / "before", users)
    after = _validating(tmp_path / "after", [*(f"new{n}" for n in range(50)), *reversed(users)])
    assert before == after & set(users)
    assert 0 < len(before) < len(after)
