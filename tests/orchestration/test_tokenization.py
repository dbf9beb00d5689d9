"""`onepiece tokenize` on a release that has a vocabulary and vectors but not a single sequence."""

import json
import re
import shutil

import pytest
from typer.testing import CliRunner

from model.dataset.tencent_parquet import FOLDERS
from model.errors import InputError
from orchestration.__main__ import app
from orchestration.tokenization import as_text, tokenize_sources
from orchestration.workspace import open_workspace
from tests.orchestration.tiny_world import write_tiny_params
from tests.tiny import NUM_KNOWN_ITEMS, write_tiny_world


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary only")
    world = write_tiny_world(folder / "raw")
    root = world.root("tencent_parquet")
    for name in FOLDERS:
        shutil.rmtree(root / name)
    loose = dict.fromkeys(("max_invalid_rate", "max_zero_rate", "max_duplicate_rate"), 1.0)
    loose |= dict.fromkeys(("min_rate", "min_candidate_rate", "min_traffic_rate"), 0.1)
    file = write_tiny_params(
        folder / "params.yaml",
        raw_data={"format": "tencent_parquet", "source": str(root)},
        coverage_report={"thresholds": {"default": loose}},
        codebook={"sizes": [8, 16]},
    )
    return open_workspace(file, folder / "data")


def test_tables_1_and_2_need_no_training(workspace):
    text = as_text(tokenize_sources(workspace, ["82"], []))
    assert re.search(rf"^ *82 +\d+ +{NUM_KNOWN_ITEMS} +\d\d\.\d+%$", text, re.M), text
    assert re.search(r"^ *82 +\d+ +\d+\.\d+% +\d+ +0 +0\.000% +\d+$", text, re.M), text
    assert "81" not in text
    assert not (workspace.data / "encoder_checkpoint").exists()


def test_an_unknown_modality_is_refused_before_anything_is_made(workspace):
    with pytest.raises(InputError, match=r"83: no such modality.*has 81, 82"):
        tokenize_sources(workspace, ["83"], [])


def test_it_waits_for_the_device(workspace, taken_device):
    with taken_device(workspace.data):
        tokenize_sources(workspace, ["82"], [])


def test_methods_stand_side_by_side(workspace):
    methods = ["residual_kmeans", "balanced_residual_kmeans", "rq_vae"]
    found = tokenize_sources(workspace, ["81"], methods)
    text = as_text(found)
    for method in methods:
        lines = re.findall(rf"^ *81 {method} .*$", text, re.M)
        assert len(lines) == 6, text  # losses, codes of two levels, collisions, distances, quality
        assert "no pairs" in lines[-1]  # without sequences nothing is held out
    assert max(map(len, text.splitlines())) <= 110
    assert [(row["source"], row["method"]) for row in found["collisions"]] == [
        ("81", method) for method in methods
    ]
    with pytest.raises(InputError, match=r"--method rqvae: no such method; there are residual_km"):
        tokenize_sources(workspace, ["81"], ["rqvae"])


def test_programs_are_told_the_reports_themselves(workspace):
    where = ["--params", str(workspace.params_file), "--data", str(workspace.data)]
    done = CliRunner().invoke(app, ["tokenize", "82", "--json", *where])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == tokenize_sources(workspace, ["82"], [])


def _row(**changes):
    counts = {"conflicts": 0, "conflict_rate": 0.0, "unique_pairs": 9, "over_capacity": 0}
    near = {"recall@10": 0.5, "chance": 0.1}
    usage = {"size": 256, "used": 9, "gini": 0.125, "entropy": 3.0625, "largest_share": 0.25}
    row = {
        "source": "81",
        "method": "rq_vae",
        "items": 9_000,
        "levels": [{"inertia": 0.25} | usage, {"inertia": 3.14159e-7} | usage],
        "before": counts | {"mean_distance": 0.5},
        "after": counts | {"mean_distance": 0.625},
        "drift": 0.125,
        "moved": 1_234,
        "quality": {"neighborhood": {"sid1": near, "vicinity": near}, "cooccurrence": None},
    }
    return row | changes


def test_losses_of_short_vectors_are_not_shown_as_none():
    assert "81       0.2500  3.14e-07" in as_text({"coverage": {}, "collisions": [_row()]})


def test_where_items_may_share_an_id_it_is_told_how_many_are_too_many():
    told = {"conflicts": 30, "conflict_rate": 0.3, "unique_pairs": 70, "mean_distance": 0.625}
    alone, sharing = (
        as_text({"coverage": {}, "collisions": [_row(after=told | {"over_capacity": over})]})
        for over in (30, 4)
    )
    assert "over capacity" not in alone
    assert "81 0 0.000% 9 30 30.000% 70 4" in [" ".join(x.split()) for x in sharing.splitlines()]


def test_the_cost_of_reassignment_and_the_use_of_codes_stand_beside_the_collisions():
    text = as_text({"coverage": {}, "collisions": [_row(), _row(method="residual_kmeans")]})
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "81 rq_vae 0.5000 0.6250 0.1250 1,234 9,000" in lines
    assert "81 residual_kmeans 2 9 256 0.125 3.062 25.000%" in lines
