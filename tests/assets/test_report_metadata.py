"""What asset pages show: addresses that the page's own server has, tables, pictures."""

import base64
from xml.etree import ElementTree

import numpy as np
import pytest

from assets.report_metadata import page_address, pictures, table
from assets.report_pictures import bars, histogram

NUMBERS = "{http://www.w3.org/2000/svg}"


def _drawing(metadata):
    content = metadata.value.partition("base64,")[2].removesuffix(")")
    return ElementTree.fromstring(base64.b64decode(content))


def test_a_page_has_the_same_address_on_every_port(tmp_path):
    page = tmp_path / "submission" / "0123" / "lineage.html"
    assert page_address(page, tmp_path) == "/files/submission/0123/lineage.html"


def test_a_plot_per_modality_leaves_room_for_that_of_all(tmp_path):
    names = [*(f"{modality}" for modality in range(81, 91)), "combinations"]
    for name in names:
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    shown = pictures(tmp_path)
    assert list(shown) == [f"{name} plot" for name in names]
    assert base64.b64encode(b"combinations").decode() in shown["combinations plot"].value


def test_a_histogram_has_a_bar_per_bin_and_leaves_out_what_is_no_number():
    drawing = _drawing(histogram(np.array([0.0, 1.0, 1.0, np.nan, np.inf]), "a < b"))
    heights = [float(bar.attrib["height"]) for bar in drawing.iter(f"{NUMBERS}rect")]
    assert len(heights) == 40
    assert heights[-1] == 2 * heights[0] > 0
    texts = [text.text for text in drawing.iter(f"{NUMBERS}text")]
    assert texts == ["a < b", "0", "1"]


def test_a_histogram_of_nothing_says_so():
    assert "nothing" in histogram(np.array([]), "empty").value


def test_bars_carry_their_labels_and_numbers():
    drawing = _drawing(bars(["<one>", "two"], [1, 4], "of things"))
    lengths = [float(bar.attrib["width"]) for bar in drawing.iter(f"{NUMBERS}rect")]
    assert lengths[1] == pytest.approx(4 * lengths[0], rel=0.01)
    texts = [text.text for text in drawing.iter(f"{NUMBERS}text")]
    assert {"<one>", "two", "1", "4", "of things"} == set(texts)


def test_a_bar_in_a_cell_begins_no_column():
    assert table([{"category": "Books|Fiction", "items": 2}]).splitlines()[-1] == (
        r"| Books\|Fiction | 2 |"
    )


def test_a_small_number_is_not_shown_as_none():
    rows = [{"of": 0.25, "none": 0.0, "few": 5.2356e-8, "less": -0.00002}]
    assert table(rows).splitlines()[-1] == "| 0.2500 | 0.0000 | 5.24e-08 | -2.00e-05 |"
