"""What `dvc plots show` draws of the coverage over time, and of validations."""

import pytest
import yaml
from dvc.render.converter.vega import VegaConverter
from dvc_render.vega import VegaRenderer

from orchestration.workspace import ROOT

FILE = "data/coverage_report/over_time.csv"


def test_coverage_over_time_has_a_line_per_modality():
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    (settings,) = [plot[FILE] for plot in plots if FILE in plot]
    rows = [
        {"modality": modality, "week": "2026-01-05", "rate": "0.5", "rev": "workspace"}
        for modality in ("81", "82")
    ]
    drawn = VegaRenderer(rows, FILE, template_dir=ROOT / ".dvc" / "plots", **settings)
    chart = drawn.get_filled_template()
    assert chart["title"]["text"] == settings["title"]
    assert chart["encoding"]["x"]["field"] == "week"
    assert chart["encoding"]["y"]["field"] == "rate"
    series = chart["encoding"]["color"]["field"]
    assert {row[series] for row in chart["data"]["values"]} == {"81", "82"}
    assert not any("DVC_METRIC" in str(part) for part in chart["encoding"].values())


@pytest.mark.parametrize("name", ["encoder", "recommender"])
def test_validations_are_drawn_where_they_were_measured(name):
    """A row of history.csv without one has an empty cell, which Vega would take for 0."""
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    (settings,) = [plot[key] for plot in plots for key in plot if key == f"{name}_validation"]
    history = [{"step": "5", "ndcg@10": ""}, {"step": "10", "ndcg@10": "0.1"}]
    file = f"data/{name}_checkpoint/history.csv"
    rows, filled = VegaConverter("", {file: {"rows": history}}, settings).flat_datapoints("here")
    drawn = VegaRenderer(rows, file, template_dir=ROOT / ".dvc" / "plots", **filled)
    chart = drawn.get_filled_template()
    (kept,) = chart["transform"]
    assert kept["filter"] == "isValid(datum['ndcg@10']) && datum['ndcg@10'] !== ''"
    assert chart["encoding"]["x"]["field"] == "step"
    assert chart["encoding"]["y"]["field"] == "ndcg@10"
    assert f"data/{name}_checkpoint/curves.png" in plots  # of every level and layer
