import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.artifact import read_json, write_json
from model.dataset.fused_embeddings import FusedEmbeddings
from model.errors import InputError
from model.tokenizer.build import build_codebook
from model.tokenizer.codebook import Codebook
from tests.damage import damage
from tests.model.inference.small_world import small_interactions
from tests.model.tokenizer.worlds import clustered, codebook_params


@pytest.fixture(scope="module")
def built() -> Codebook:
    return build_codebook(fused(), [], small_interactions(), codebook_params(sizes=[4, 4]), 1)


def fused() -> FusedEmbeddings:
    return FusedEmbeddings(np.arange(1, 8, dtype=np.int32), clustered(7, centres=3))


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_item_has_its_own_semantic_id(built):
    assert built.codes.dtype == np.int32
    assert built.codes[0].tolist() == [0, 0]
    assert built.codes[1:].min() >= 1
    assert built.codes[1:].max() <= 4
    assert len(built.sid_keys) == built.num_items == 7


def test_codes_and_items_are_each_others_inverse(built):
    for item in range(1, built.num_items + 1):
        assert built.items_of(built.codes[item]).tolist() == [item]
        assert built.key_of(built.codes[item]) in built.sid_keys
    free = {(a, b) for a in range(1, 5) for b in range(1, 5)}
    for sid in free - {tuple(row) for row in built.codes[1:].tolist()}:
        assert len(built.items_of(sid)) == 0


def test_items_that_share_an_id_are_listed_in_order():
    codes = np.array([[0, 0], [2, 1], [1, 1], [2, 1], [0, 0], [2, 1]], np.int32)
    centroids = [np.zeros((2, 3), np.float32)] * 2
    codebook = Codebook.of(codes, centroids, [])
    assert codebook.sid_keys.tolist() == [0, 2]
    assert codebook.items_of([2, 1]).tolist() == [1, 3, 5]
    assert codebook.sid_offsets.tolist() == [0, 1, 4]


def test_what_is_saved_is_loaded_and_the_same_bytes_again(built, tmp_path):
    built.save(tmp_path / "a")
    again = build_codebook(fused(), [], small_interactions(), codebook_params(sizes=[4, 4]), 1)
    again.save(tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    loaded = Codebook.load(tmp_path / "a")
    for name in ("codes", "sid_keys", "sid_offsets", "sid_items"):
        assert np.array_equal(getattr(loaded, name), getattr(built, name))
        assert isinstance(getattr(loaded, name), np.memmap)
    assert loaded.report == built.report
    assert loaded.sizes == built.sizes
    for one, other in zip(loaded.centroids, built.centroids, strict=True):
        assert np.array_equal(one, other)


def test_two_re_assignments_of_one_generation_have_two_names():
    settings = [codebook_params(sizes=[2, 4], reassignment=how) for how in ("none", "exact")]
    one, other = (build_codebook(fused(), [], small_interactions(), it, 1) for it in settings)
    assert (one.generation, one.revision) == (other.generation, other.revision)
    assert one.semantic_ids != other.semantic_ids


def test_a_codebook_that_does_not_name_its_semantic_ids_is_opened(built, tmp_path):
    built.save(tmp_path / "a")
    facts = read_json(tmp_path / "a" / "codebook.json")
    assert facts.pop("semantic_ids") == built.semantic_ids
    write_json(tmp_path / "a" / "codebook.json", facts)
    assert Codebook.load(tmp_path / "a").semantic_ids == built.semantic_ids


@pytest.mark.parametrize("kept", [None, 0, 60, -2])
@pytest.mark.parametrize(
    "name", ["codes.npy", "centroids_2.npy", "codebook.json", "published.parquet"]
)
def test_a_damaged_codebook_is_named(built, tmp_path, name, kept):
    built.save(tmp_path / "a")
    damage(tmp_path / "a" / name, kept)
    with pytest.raises(
        InputError, match=rf"{name}: (not found|truncated|not valid JSON).*materiali[sz]e"
    ):
        Codebook.load(tmp_path / "a")


def test_the_table_of_all_that_was_published_is_read_by_those_who_ask_for_it(built, tmp_path):
    built.save(tmp_path / "a")
    assert Codebook.load(tmp_path / "a").published.equals(built.published)
    file = tmp_path / "a" / "published.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:4] + bytes(len(content) // 4) + content[4 + len(content) // 4 :])
    loaded = Codebook.load(tmp_path / "a")
    assert np.array_equal(loaded.codes, built.codes)
    with pytest.raises(InputError, match=r"published\.parquet: truncated .*materialise it again"):
        _ = loaded.published


def test_more_codes_than_items_give_every_item_its_own():
    """64 x 64 IDs for 7 items: empty clusters are no trouble, and codes stay legal."""
    params = codebook_params(sizes=[64, 64])
    made = build_codebook(fused(), [], small_interactions(), params, 1)
    assert len(made.sid_keys) == made.num_items == 7
    assert made.codes[1:].min() >= 1
    assert made.codes.max() <= 64
    for level in made.centroids:
        assert level.shape == (64, 8)
        assert np.isfinite(level).all()


def test_held_out_events_decide_no_code():
    one = small_interactions()
    item_ids = one.item_ids.copy()
    item_ids[[3, 4, 7]] = 3  # all that is held out, of users 0 and 1
    other = replace(one, item_ids=item_ids)
    params = codebook_params(sizes=[4, 4])
    made = [build_codebook(fused(), [], events, params, 1) for events in (one, other)]
    assert made[0].codes.tobytes() == made[1].codes.tobytes()
    assert made[0].generation == made[1].generation
    assert made[0].report != made[1].report  # which judges by them


def test_a_training_machine_opens_codebooks_with_few_packages(built, tmp_path):
    built.save(tmp_path / "a")
    code = f"""
import sys
for name in ("faiss", "numba", "pydantic", "duckdb", "matplotlib", "torch"):
    sys.modules[name] = None
from model.tokenizer.codebook import Codebook
assert Codebook.load({str(tmp_path / "a")!r}).num_items == 7
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_too_few_semantic_ids_are_refused_with_the_capacity_that_is_needed():
    params = codebook_params(sizes=[2, 2])
    with pytest.raises(InputError, match=r"at least 2 or codebook\.sizes"):
        build_codebook(fused(), [], small_interactions(), params, 1)
