"""What the page of the codebook shows, and when its checks refuse."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from assets import codebook as asset
from model.dataset.fused_embeddings import FusedEmbeddings
from model.dataset.modality_embeddings import ModalityEmbedding
from model.dataset.vector_states import VALID
from model.errors import InputError
from model.tokenizer import nearest, pictures
from model.tokenizer.build import build_codebook, report_source
from model.tokenizer.codebook import Codebook
from model.tokenizer.item_vectors import ItemVectors
from model.tokenizer.report_views import headlines
from orchestration.report import collision_table
from tests.model.inference.small_world import small_interactions
from tests.model.tokenizer import test_growth as extension
from tests.model.tokenizer.worlds import clustered, codebook_params


def _build(**settings) -> Codebook:
    """Of seven items, of which five have the modality."""
    fused = FusedEmbeddings(np.arange(1, 8, dtype=np.int32), clustered(7, centres=3))
    items = np.arange(1, 6, dtype=np.int32)
    modality = ModalityEmbedding(
        name="81",
        item_ids=items,
        matrix=clustered(5).astype(np.float16),
        states=np.array([0, *[VALID] * 5, 0, 0], np.int8),
        row_of=np.array([-1, 0, 1, 2, 3, 4, -1, -1], np.int32),
        counts={},
    )
    params = codebook_params(per_modality=True, **settings)
    return build_codebook(fused, [modality], small_interactions(), params, 1)


@pytest.fixture(scope="module")
def made() -> Codebook:
    return _build(sizes=[4, 4])


def test_the_capacity_that_is_asked_for_is_enough_for_every_source():
    with pytest.raises(InputError, match=r"collaborative has 7 items .* at least 4 or"):
        _build(sizes=[2])
    assert _build(sizes=[2], capacity=4).num_items == 7


def test_table_2_has_a_row_per_source(made):
    rows = asset.collision_rows(made.report)
    assert [row["source"] for row in rows] == ["81", "collaborative"]
    assert [row["sample"] for row in rows] == [5, 7]
    assert {row["method"] for row in rows} == {"residual_kmeans"}
    for row in rows:
        assert row["drift"] == row["mean distance after"] - row["mean distance before"]
    assert [row["unique pairs after"] for row in rows] == [5, 7]
    assert [row["conflicts after"] for row in rows] == [0, 0]
    for row, items in zip(rows, (5, 7), strict=True):
        assert row["unique pairs before"] == items - row["conflicts before"]
        assert row["rate before"] == row["conflicts before"] / items
        assert row["over capacity before"] == row["conflicts before"]  # where no ID is shared


def test_table_2_says_whether_all_have_room_where_ids_are_shared():
    rows = asset.collision_rows(_build(sizes=[2], capacity=4).report)
    assert [row["conflicts after"] for row in rows] == [3, 5]
    assert [row["over capacity after"] for row in rows] == [0, 0]


def test_all_views_count_conflicts_and_unique_pairs_before_and_after(made):
    row = made.report[-1]
    before, after = row["before"], row["after"]
    shown = headlines(made.report)["collaborative"]
    for name in ("conflicts", "conflict_rate", "unique_pairs", "over_capacity"):
        assert (shown[f"{name}_before"], shown[f"{name}_after"]) == (before[name], after[name])
    printed = collision_table(made.report).splitlines()
    assert printed[0].split("  ")[-1] == "distinct IDs"
    counted = [int(cell) for cell in printed[-1].split() if cell.isdigit()]
    assert counted == [
        *(before["conflicts"], before["unique_pairs"]),
        *(after["conflicts"], after["unique_pairs"]),
    ]


@pytest.mark.parametrize("sizes", [[64], [4, 4, 4]])
def test_views_have_a_loss_and_the_use_of_every_level(sizes):
    vectors = ItemVectors.of_fused(
        FusedEmbeddings(np.arange(1, 8, dtype=np.int32), clustered(7, centres=3))
    )
    row = report_source(vectors, small_interactions(), codebook_params(sizes=sizes), 1)
    levels = range(1, len(sizes) + 1)
    told, shown = headlines([row])["collaborative"], asset.collision_rows([row])[0]
    for found, name in ((told, "loss"), (shown, "loss"), (told, "gini"), (told, "entropy")):
        assert [key for key in found if key.startswith(name)] == [f"{name}{n}" for n in levels]
    assert [told[f"used_share{n}"] for n in levels] == [
        level["used"] / level["size"] for level in row["levels"]
    ]


def test_usage_has_a_row_per_level_and_quality_one_per_source(made):
    usage = asset.usage_rows(made.report)
    assert [row["level"] for row in usage] == [1, 2, 1, 2]
    assert all(row["used"] <= row["size"] == 4 for row in usage)
    quality = asset.quality_rows(made.report)
    assert [row["source"] for row in quality] == ["81", "collaborative"]
    assert 0.0 <= quality[1]["neighbors in sid1"] <= 1.0


def test_shares_stand_beside_what_chance_gives(made):
    """In the page's table and in metrics.json."""
    shown, told = asset.quality_rows(made.report)[-1], headlines(made.report)["collaborative"]
    quality = made.report[-1]["quality"]
    for near in ("sid1", "vicinity"):
        chance = quality["neighborhood"][near]["chance"], quality["cooccurrence"][near]["chance"]
        assert chance == (
            shown[f"neighbors in {near} by chance"],
            shown[f"transitions in {near} by chance"],
        )
        assert chance == (
            told[f"neighbors_in_{near}_by_chance"],
            told[f"next_items_in_{near}_by_chance"],
        )
        assert told[f"neighbors_in_{near}"] == quality["neighborhood"][near]["recall@10"]
        assert told[f"next_items_in_{near}"] == quality["cooccurrence"][near]["share"]


def test_what_an_extension_did_stands_among_the_metrics(made, tmp_path):
    extension.build(list(range(120))).save(tmp_path / "one")
    after = extension.build(list(range(130)), frozen_from=str(tmp_path / "one"))
    growth, told = after.report[-1]["growth"], headlines(after.report)["collaborative"]
    assert growth["unaligned_distance"] is None  # nothing was turned
    named = {name: value for name, value in told.items() if name.startswith("growth_")}
    assert named == {
        f"growth_{name}": value
        for name, value in growth.items()
        if name not in ("generation", "unaligned_distance")
    }
    assert (named["growth_added"], named["growth_assigned"]) == (10, 10)
    assert not [name for name in headlines(made.report)["collaborative"] if "growth" in name]


def test_without_held_out_transitions_there_is_no_share_and_no_chance(made):
    row = dict(made.report[-1])
    row["quality"] = row["quality"] | {"cooccurrence": None}
    assert not [name for name in headlines([row])["collaborative"] if "next_items" in name]
    assert asset.quality_rows([row])[0]["transitions in sid1 by chance"] == "none"


def test_the_picture_of_usage_shows_the_codes_that_the_report_counts(tmp_path, monkeypatch):
    """Copies of one vector all have one nearest code; re-assignment spreads them over many."""
    vectors = ItemVectors.of_fused(
        FusedEmbeddings(np.arange(1, 8, dtype=np.int32), np.repeat(clustered(1), 7, axis=0))
    )
    rows = [
        report_source(vectors, small_interactions(), codebook_params(sizes=[2, 7]), 1)
        | {"source": name}
        for name in ("81", "collaborative")
    ]
    drawn: list[Figure] = []
    monkeypatch.setattr(pictures, "write_png", lambda figure, file: drawn.append(figure))
    pictures.plot_usage(rows, tmp_path / "usage.png")
    panels = drawn[0].axes
    assert [axes.get_title() for axes in panels] == [
        f"{source}, level {level}: of {size} codes 1 used, {after} after"
        for source in ("81", "collaborative")
        for level, size, after in ((1, 2, 1), (2, 7, 7))
    ]
    nearest, after = (stairs.get_data() for stairs in panels[1].patches)
    assert nearest.values.tolist() == [7, 0, 0, 0, 0, 0, 0]
    assert after.values.tolist() == [1] * 7
    assert nearest.edges.tolist() == list(range(8))  # the first bar is as wide as the others


@pytest.mark.parametrize(
    ("method", "first"),
    [
        ("residual_kmeans", "nearest codes"),
        ("balanced_residual_kmeans", "codes after balancing"),
    ],
)
def test_the_picture_of_usage_says_what_the_codes_before_are(made, monkeypatch, method, first):
    drawn: list[Figure] = []
    monkeypatch.setattr(pictures, "write_png", lambda figure, file: drawn.append(figure))
    pictures.plot_usage([row | {"method": method} for row in made.report], Path("usage.png"))
    (legend,) = [axes.get_legend() for axes in drawn[0].axes if axes.get_legend()]
    assert [text.get_text() for text in legend.get_texts()] == [first, "after re-assignment"]


def test_files_for_dvc_and_pictures_stand_in_the_folder(made, tmp_path):
    made.save(tmp_path / "codebook")
    lines = (tmp_path / "codebook" / "conflicts.csv").read_text().splitlines()
    assert lines[0].startswith(
        "bar,source,stage,conflicts,conflict_rate,unique_pairs,over_capacity"
    )
    assert [line.split(",")[0] for line in lines[1:]] == [
        "81 before",
        "81 after",
        "collaborative before",
        "collaborative after",
    ]
    for name in ("conflicts.png", "usage.png"):
        assert (tmp_path / "codebook" / name).read_bytes().startswith(b"\x89PNG")


def _with_largest_share(made: Codebook, share: float) -> Codebook:
    row = dict(made.report[-1])
    row["largest_nearest_share"] = share
    return replace(made, report=[row])


def test_a_collapsed_codebook_turns_the_check_red(made):
    assert asset._judge_spread(made, None).passed
    verdict = asset._judge_spread(_with_largest_share(made, 0.9), None)
    assert not verdict.passed
    assert "first code of 4 holds 90.0% of the items, more than 50%; nearly all" in verdict.reason


@pytest.mark.parametrize("method", ["residual_kmeans", "balanced_residual_kmeans", "rq_vae"])
def test_vectors_that_cannot_be_told_apart_are_refused_with_every_method(method):
    """Balancing spreads them over all codes, which then say nothing of the items."""
    vectors = np.repeat(extension.VECTORS[:1], 120, axis=0)
    made = extension.build(list(range(120)), vectors, method=method)
    share = made.report[-1]["levels"][0]["largest_share"]
    assert (share < 0.1) == (method == "balanced_residual_kmeans")
    verdict = asset._judge_spread(made, None)
    assert not verdict.passed
    assert verdict.metadata["largest share"] == 1.0
    assert asset._judge_spread(extension.build(list(range(120)), method=method), None).passed


def test_the_report_of_an_earlier_version_is_judged_by_its_levels(made):
    row = dict(made.report[-1])
    del row["largest_nearest_share"]
    assert asset._judge_spread(replace(made, report=[row]), None).passed
    row["levels"] = [row["levels"][0] | {"largest_share": 0.9}, row["levels"][1]]
    assert not asset._judge_spread(replace(made, report=[row]), None).passed


def test_published_ids_that_are_spread_stay_so_wherever_vectors_lie_today(tmp_path):
    extension.build(list(range(120))).save(tmp_path / "one")
    vectors = np.repeat(extension.VECTORS[:1], 130, axis=0)
    after = extension.build(list(range(130)), vectors, frozen_from=str(tmp_path / "one"))
    assert after.report[-1]["levels"][0]["largest_share"] == 1.0
    assert after.report[-1]["growth"]["largest_share"] < 0.4
    assert asset._judge_spread(after, None).passed


def test_one_of_two_first_codes_always_holds_half_and_more():
    made = _build(sizes=[2, 8])
    assert made.report[-1]["levels"][0]["largest_share"] > 0.5
    assert asset._judge_spread(made, None).passed
    assert not asset._judge_spread(_with_largest_share(made, 0.96), None).passed


def test_an_id_with_more_items_than_it_may_have_turns_the_other_one_red():
    made = _build(sizes=[2], capacity=4)
    passed, over = [], []
    for capacity in (3, 4):
        codebook = codebook_params(capacity=capacity)
        verdict = asset._judge_conflicts(
            made, SimpleNamespace(params=SimpleNamespace(codebook=codebook))
        )
        passed.append(verdict.passed)
        over.append(verdict.metadata["over capacity"])
        assert verdict.reason == (
            "5 items have the semantic ID of an earlier item, at most 4 share one, and "
            f"codebook.capacity is {capacity}"
        )
    assert passed == [False, True]
    assert over == [1, 0]


@pytest.mark.parametrize(
    ("has_gpu", "named", "chosen"),
    [(False, "faiss on the CPU", "FaissNearest"), (True, "torch on Device", "TorchNearest")],
)
def test_the_backend_that_is_shown_is_the_one_that_searches(monkeypatch, has_gpu, named, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Device")
    for name in ("FaissNearest", "TorchNearest"):
        monkeypatch.setattr(nearest, name, lambda *given, name=name: name)
    assert asset._backend() == named
    assert nearest.nearest_centroid(np.zeros((1, 2), np.float32)) == chosen
