"""What `dvc plots show` draws of the coverage over time."""

import yaml
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
