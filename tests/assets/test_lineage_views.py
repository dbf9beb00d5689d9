"""A lineage as text, Mermaid and a page that stands alone."""

import re
from html.parser import HTMLParser
from pathlib import Path

from assets.lineage_page import as_page
from assets.lineage_text import as_mermaid, as_text, upstream_first
from tests.orchestration.small_manifest import small_manifest


def test_every_artefact_stands_after_what_it_was_made_from():
    order = upstream_first(small_manifest()["artifacts"])
    assert order.index("raw_data") < order.index("codebook")
    assert sorted(order) == sorted(small_manifest()["artifacts"])


def test_an_order_is_found_where_everything_is_made_from_everything():
    names = [f"asset_{number}" for number in range(40)]
    artifacts = {
        name: {"parents": dict.fromkeys(names[:place], "0" * 32)}
        for place, name in enumerate(names)
    }
    assert upstream_first(dict(reversed(artifacts.items()))) == names


def test_text_names_every_artefact_with_its_hash_and_parents():
    text = as_text(small_manifest())
    assert "codebook  <- raw_data" in text
    assert "raw_data  <- nothing else" in text
    assert "hr@10 0.2500" in text


def test_every_view_names_the_codebooks_generation_and_revision(tmp_path):
    manifest = small_manifest()
    manifest["artifacts"]["codebook"] |= {"generation": "0a1b2c3d4e5f", "revision": 0}
    manifest["artifacts"]["codebook"]["semantic_ids"] = "0123456789abcdef"
    said = "codebook (generation 0a1b2c3d4e5f, revision 0, IDs 01234567)"
    assert f"{said}  <- raw_data" in as_text(manifest)
    assert f'codebook["{said}<br/>codebook"]' in as_mermaid(manifest)
    page = as_page(manifest, tmp_path)
    assert f"<td>{said}</td><td>codebook-hash</td>" in page
    assert f"<title>{said}</title>" in page  # of its box in the graph


def test_text_and_page_say_what_the_metrics_are_of(tmp_path):
    manifest = small_manifest(measured_with={"num_sids": 16, "filter_cold": True})
    said = "etrics, measured with cascade.num_sids 16, cascade.filter_cold True"
    assert said in as_text(manifest)
    assert said in as_page(manifest, tmp_path)
    assert "measured" not in as_text(small_manifest())
    other = {"interactions": "0123456789.dir"}
    assert "metrics, measured on other interactions (01234567)" in as_text(
        small_manifest(measured_on=other)
    )
    both = as_text(small_manifest(measured_with={"num_sids": 16}, measured_on=other))
    assert ", measured with cascade.num_sids 16, on other interactions (01234567)" in both


def test_a_long_list_of_items_is_shortened():
    said = as_text(small_manifest(measured_with={"blocked_items": list(range(1000))}))
    assert "measured with cascade.blocked_items [0, 1, 2, " in said
    assert max(map(len, said.splitlines())) < 120


def test_mermaid_draws_every_edge_and_ends_in_the_submission():
    lines = as_mermaid(small_manifest()).splitlines()
    assert "  raw_data --> codebook" in lines
    assert "  raw_data --> modality_embeddings_81" in lines
    assert "  codebook --> submission" in lines
    assert "  raw_data --> submission" not in lines


def test_the_page_needs_nothing_from_elsewhere_and_shows_plots(tmp_path):
    (tmp_path / "codebook").mkdir()
    (tmp_path / "codebook" / "usage.png").write_bytes(b"not really a picture")
    page = as_page(small_manifest(), tmp_path)
    outside = [link for link in re.findall(r"(?:src|href)='([^']+)'", page) if "data:" not in link]
    assert outside == []
    assert "codebook: usage" in page
    assert page.count("<rect") == 4  # three artefacts and the submission
    HTMLParser().feed(page)


def test_the_page_shows_metrics_of_all_paths_and_the_raw_files():
    paths = {"cascade": {"hr@10": 0.25, "users": 3}, "sid": {"hr@10": 0.125}, "search": {"kind": 1}}
    page = as_page(small_manifest(metrics={**paths, "users": 3}), Path("/nowhere"))
    assert "<th>cascade</th><th>sid</th></tr>" in page
    assert (
        "<td>hr@10</td><td class='number'>0.2500</td><td class='number'>0.1250</td></tr></table>"
    ) in page
    assert "<td>a.inter</td>" in page


def test_a_page_without_metrics_is_a_page():
    assert "<th>metric</th>" in as_page(small_manifest(metrics={}), Path("/nowhere"))


def test_the_page_shows_input_as_text():
    page = as_page(small_manifest(device="<script>x</script>"), Path("/nowhere"))
    assert "<script>x" not in page
