"""The groups of users, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from model import metrics
from model.inference import plots
from model.inference.breakdowns import UserGroups, breakdown_rows, user_groups
from tests.model.inference.fakes import random_interactions

COUNTS = np.array([0, 0, 1, 2, 4, 5, 9, 10, 99, 100, 999, 1000])  # item 1 has none, item 2 one
TARGETS = np.arange(1, 12)
LENGTHS = [0, 1, 5, 6, 10, 11, 20, 21, 50, 100, 101]  # of the histories before the targets


@pytest.fixture(scope="module")
def groups() -> dict[str, list[str]]:
    """Per division the label of each of eleven users."""
    world = random_interactions(11, 20)
    offsets = np.concatenate([[0], np.cumsum(np.array(LENGTHS) + 1)])
    seconds = np.zeros(offsets[-1], np.int64)
    targets = offsets[1:] - 1
    # the last second of January 2025, the first of February, and a day of March for the rest
    seconds[targets] = [1_738_367_999, 1_738_368_000, *[1_741_000_000] * 9]
    actions = np.zeros(offsets[-1], np.int8)
    actions[targets] = [0, 1, 2, *[1] * 8]
    world = replace(
        world,
        offsets=offsets,
        item_ids=np.ones(offsets[-1], np.int32),
        timestamps=seconds,
        action_types=actions,
        test_event=targets,
    )
    divisions = user_groups(world, COUNTS, np.arange(11), TARGETS)
    return {one.name: [one.labels[place] for place in one.group] for one in divisions}


def test_users_are_divided_by_the_length_of_their_history(groups):
    assert groups["history_length"] == [
        *("0", "1-5", "1-5", "6-10", "6-10", "11-20", "11-20", "21-50", "21-50"),
        *("51-100", "101+"),
    ]


def test_users_are_divided_by_what_their_target_is(groups):
    assert groups["target_popularity"] == [
        *("0", "1", "2-4", "2-4", "5-9", "5-9", "10-99", "10-99", "100-999", "100-999"),
        "1000+",
    ]
    assert groups["target_warmth"] == ["cold", *["warm"] * 10]
    assert groups["action"] == ["exposure", "click", "conversion", *["click"] * 8]
    assert groups["month"] == ["2025-01", "2025-02", *["2025-03"] * 9]


def test_a_groups_row_is_the_weighted_mean_of_its_users():
    group = UserGroups("warmth", ["cold", "warm", "nobody"], np.array([0, 1, 1]))
    ranks, weights = np.array([0, 1, 3]), np.array([0.0, 1.0, 3.0])
    rows = breakdown_rows([group], {"sid": ranks}, weights, samples=200, seed=0)
    shared = {"division": "warmth", "path": "sid"}
    nothing = {"hr@10": None, "ndcg@10": None, "score": None, "ci95": {"ndcg@10": None}}
    gain = (1.0 + 3 * 0.5) / 4  # rank 3 gains 1 / log2(4)
    assert rows == [
        shared | {"group": "cold", "users": 1, "weight": 0.0} | nothing,
        shared
        | {"group": "warm", "users": 2, "weight": 4.0, "hr@10": 1.0, "ndcg@10": gain}
        | {"score": pytest.approx(0.31 + 0.69 * gain)}
        | {"ci95": {"ndcg@10": [0.5, 1.0]}},  # either user alone
    ]


def test_a_group_of_all_has_the_interval_of_the_whole():
    ranks = {"sid": np.arange(40) % 13, "cascade": np.arange(40) % 7}
    weights = np.arange(40) % 3 / 2.0
    everyone = UserGroups("any", ["all"], np.zeros(40, np.int64))
    rows = breakdown_rows([everyone], ranks, weights, samples=50, seed=3)
    gains = np.stack([metrics.discounted_gains(rank, 10) for rank in ranks.values()], axis=1)
    whole = metrics.bootstrap_intervals(gains, weights, samples=50, seed=3)
    assert [row["ci95"]["ndcg@10"] for row in rows] == whole.tolist()


def test_intervals_are_drawn_around_the_points_and_none_where_nothing_weighs(tmp_path, monkeypatch):
    group = UserGroups("warmth", ["cold", "warm"], np.array([0, 1, 1]))
    ranks = {"sid": np.array([0, 1, 3])}
    rows = breakdown_rows([group], ranks, np.array([0.0, 1.0, 3.0]), samples=200, seed=0)
    drawn = []
    monkeypatch.setattr(plots, "write_png", lambda figure, file: drawn.append(figure))
    plots.plot_breakdowns(rows, tmp_path / "breakdowns.png")
    (bars,) = drawn[0].axes[0].containers
    cold, warm = bars.lines[2][0].get_segments()
    assert len(cold) == 0
    np.testing.assert_allclose(warm[:, 1], [0.5, 1.0])
