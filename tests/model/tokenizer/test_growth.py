import logging
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from model.artifact import read_json, write_json
from model.dataset.features import FeatureTable
from model.dataset.fused_embeddings import FusedEmbeddings
from model.dataset.interactions import Interactions
from model.dataset.modality_embeddings import ModalityEmbedding
from model.dataset.vector_states import VALID
from model.errors import InputError
from model.tokenizer.build import build_codebook
from model.tokenizer.codebook import Codebook
from model.tokenizer.growth import extend
from model.tokenizer.item_vectors import ItemVectors
from model.tokenizer.published import codes_of, open_published
from model.tokenizer.quantizer import Quantizer, quantize
from model.tokenizer.room import require_semantic_ids
from tests.model.inference.small_world import small_interactions
from tests.model.tokenizer.worlds import clustered, codebook_params, item_vectors

VECTORS = clustered(220)
BALANCED = {"method": "balanced_residual_kmeans"}


def world(items: list[int], vectors: np.ndarray = VECTORS) -> tuple[FusedEmbeddings, Interactions]:
    """Items by their raw numbers, which are rows of the vectors, numbered anew in this order."""
    count = len(items)
    table = FeatureTable.without_features(count)
    raw_ids = pa.array([f"raw{item}" for item in items], pa.large_string())
    interactions = replace(
        small_interactions(), items=table, num_known_items=count, raw_item_ids=raw_ids
    )
    return FusedEmbeddings(np.arange(1, count + 1, dtype=np.int32), vectors[items]), interactions


def build(items: list[int], vectors: np.ndarray = VECTORS, **changes) -> Codebook:
    fused, interactions = world(items, vectors)
    return build_codebook(fused, [], interactions, codebook_params(**changes), 1)


def sids(codebook: Codebook) -> dict[str, tuple[int, ...]]:
    """What is published, by raw id."""
    codes = map(tuple, codes_of(codebook.published).tolist())
    return dict(zip(codebook.published["raw_id"].to_pylist(), codes, strict=True))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generations") / "one"
    build(list(range(120))).save(folder)
    return folder


@pytest.mark.parametrize("method", ["residual_kmeans", "balanced_residual_kmeans", "rq_vae"])
@pytest.mark.parametrize("reassignment", ["none", "paper", "exact"])
def test_no_published_id_moves(method, reassignment, tmp_path):
    settings = {"method": method, "reassignment": reassignment}
    before = build(list(range(120)), **settings)
    before.save(tmp_path / "one")
    after = build(list(range(220)), **settings, frozen_from=str(tmp_path / "one"))
    assert after.codes[1:121].tobytes() == before.codes[1:].tobytes()
    for old, new in zip(before.centroids, after.centroids, strict=True):
        assert old.tobytes() == new.tobytes()
    assert (after.codes[121:] > 0).all()
    assert after.generation == before.generation
    assert (before.revision, after.revision) == (0, 1)


def test_new_items_find_free_ids(first, caplog):
    with caplog.at_level(logging.INFO):
        after = build(list(range(220)), frozen_from=str(first))
    assert len(after.sid_keys) == 220
    growth = after.report[-1]["growth"]
    assert growth["published"] == 120
    assert growth["added"] == growth["assigned"] == 100
    assert growth["retired"] == 0
    assert 0 <= growth["spilled"] <= 100
    assert after.report[-1]["after"]["unique_pairs"] == 220
    assert (
        f"revision 1 of generation {after.generation} adds 100 items to 120 published ones; 100 of "
        f"them have a vector and got codes, {growth['spilled']} of these outside"
    ) in caplog.text


@pytest.fixture(scope="module")
def balanced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generations") / "balanced"
    build(list(range(120)), **BALANCED).save(folder)
    return folder


def test_copies_of_a_published_item_join_it_whatever_the_method(balanced):
    before = Codebook.load(balanced)
    books = Quantizer("cosine", before.centroids, {})
    nearest = quantize(books, item_vectors(VECTORS[:120])).codes[:, 0] + 1
    likes = int(np.flatnonzero(nearest == before.codes[1:, 0])[0])  # not balanced away itself
    vectors = np.concatenate([VECTORS[:120], np.repeat(VECTORS[[likes]], 5, axis=0)])
    after = build(list(range(125)), vectors, **BALANCED, frozen_from=str(balanced))
    assert after.codes[121:, 0].tolist() == [before.codes[likes + 1, 0]] * 5
    assert len(after.sid_keys) == 125


def test_the_nearest_codes_of_new_items_do_not_depend_on_who_else_is_new(balanced):
    def first_codes(new: list[int]) -> list[list[int]]:
        fused, interactions = world([*range(120), *new])
        growth = extend(
            Codebook.load(balanced),
            ItemVectors.of_fused(fused),
            interactions.raw_item_ids,
            codebook_params(**BALANCED),
            1,
        )
        return growth.tokens.first.codes[120:].tolist()

    new = list(range(120, 128))
    assert first_codes(new) == [first_codes([item])[0] for item in new]


def test_items_are_recognised_when_their_numbers_change(first):
    before = sids(Codebook.load(first))
    items = np.random.default_rng(0).permutation(220).tolist()
    after = build(items, frozen_from=str(first))
    for number, item in enumerate(items, 1):
        if item < 120:
            assert tuple(after.codes[number].tolist()) == before[f"raw{item}"]


def test_the_id_of_an_item_that_has_gone_stays_taken(first, tmp_path):
    before = sids(Codebook.load(first))
    after = build(list(range(40, 220)), frozen_from=str(first))
    gone = {before[f"raw{item}"] for item in range(40)}
    assert not gone & {tuple(row) for row in after.codes[1:].tolist()}
    assert after.report[-1]["growth"]["retired"] == 40
    after.save(tmp_path / "two")
    third = build(list(range(220)), frozen_from=str(tmp_path / "two"))
    assert third.revision == 2
    assert sids(third) == sids(after)  # the forty are back, under the IDs that were theirs


@pytest.mark.parametrize("method", ["residual_kmeans", "balanced_residual_kmeans", "rq_vae"])
@pytest.mark.parametrize("reassignment", ["none", "paper", "exact"])
def test_an_extension_by_nothing_changes_nothing(method, reassignment, tmp_path):
    settings = {"method": method, "reassignment": reassignment}
    before = build(list(range(120)), **settings)
    before.save(tmp_path / "one")
    after = build(list(range(120)), **settings, frozen_from=str(tmp_path / "one"))
    assert after.codes.tobytes() == before.codes.tobytes()
    old, new = before.report[-1], after.report[-1]
    assert new["growth"]["added"] == 0
    assert new.pop("codebook_distance") == pytest.approx(old.pop("codebook_distance"))
    assert {**new, "sample": 120} == {**old, "growth": new["growth"]}


def test_a_new_item_without_a_direction_is_added_and_not_assigned(first):
    vectors = VECTORS.copy()
    vectors[121] = 0.0
    after = build(list(range(123)), vectors, frozen_from=str(first))
    assert after.codes[122].tolist() == [0, 0]
    growth = after.report[-1]["growth"]
    assert (growth["added"], growth["assigned"]) == (3, 2)


@pytest.mark.parametrize("vector", ["zero", "missing"])
def test_the_id_of_an_item_without_a_vector_today_stays_taken(first, vector):
    """Its copies, more than its prefix has room for, want nothing more than that ID."""
    vectors = np.concatenate([VECTORS[:120], np.repeat(VECTORS[[5]], 16, axis=0)])
    fused, interactions = world(list(range(136)), vectors)
    if vector == "zero":
        fused.matrix[5] = 0.0
    else:
        kept = np.arange(136) != 5
        fused = FusedEmbeddings(fused.item_ids[kept], fused.matrix[kept])
    params = codebook_params(frozen_from=str(first))
    after = build_codebook(fused, [], interactions, params, 1)
    sid = Codebook.load(first).codes[6]
    assert after.codes[6].tolist() == sid.tolist()
    assert after.items_of(sid).tolist() == [6]
    assert len(after.sid_keys) == 136


def _with_sid2(table: pa.Table, values: list) -> pa.Table:
    return table.set_column(2, "sid2", pa.array(values, pa.int32()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["sid2"]), "has the columns raw_id, sid1 and not raw_id, sid1, "),
        (lambda t: _with_sid2(t, [None] * len(t)), "has empty cells in sid2"),
        (lambda t: _with_sid2(t, [17] * len(t)), r"gives raw0 the ID \[\d+, 17\], beyond sizes"),
        (lambda t: _with_sid2(t, [0] * len(t)), r"gives raw0 the ID \[\d+, 0\], beyond sizes"),
        (lambda t: pa.concat_tables([t, t]), "names an item twice"),
        (lambda t: _with_sid2(t, t["sid2"].to_pylist()[::-1]), "gives other IDs than codes.npy"),
        (lambda t: t.slice(0, 119), "gives other IDs than codes.npy"),
    ],
)
def test_a_table_that_was_not_published_like_this_is_refused(first, tmp_path, change, message):
    before = Codebook.load(first)
    replace(before, read_published=lambda: change(before.published)).save(tmp_path / "one")
    with pytest.raises(InputError, match=f"published.parquet {message}.*copy the folder again"):
        build(list(range(120)), frozen_from=str(tmp_path / "one"))


def test_the_order_of_the_published_columns_says_nothing(first, tmp_path):
    before = Codebook.load(first)
    turned_round = before.published.select(["sid2", "raw_id", "sid1"])
    replace(before, read_published=lambda: turned_round).save(tmp_path / "one")
    after = build(list(range(120)), frozen_from=str(tmp_path / "one"))
    assert after.codes.tobytes() == before.codes.tobytes()


def test_centroids_of_another_generation_are_refused(first, tmp_path):
    shutil.copytree(first, tmp_path / "one")
    np.save(tmp_path / "one" / "centroids_2.npy", np.zeros((16, 8), np.float32))
    with pytest.raises(InputError, match="the centroids are not those of generation"):
        build(list(range(120)), frozen_from=str(tmp_path / "one"))


@pytest.mark.parametrize("method", ["residual_kmeans", "rq_vae"])
def test_a_generation_that_does_not_name_its_method_has_the_likely_one(method, tmp_path):
    build(list(range(120)), method=method, iterations=1).save(tmp_path / "one")
    facts = read_json(tmp_path / "one" / "codebook.json")
    assert facts.pop("method") == method
    write_json(tmp_path / "one" / "codebook.json", facts)
    assert Codebook.load(tmp_path / "one").method == method


def test_another_training_is_another_generation(first):
    assert build(list(range(120)), iterations=1).generation != Codebook.load(first).generation


def turned(vectors: np.ndarray) -> np.ndarray:
    """As an encoder would have them that learned the same with other axes."""
    width = vectors.shape[1]
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((width, width)))[0]
    return (vectors @ axes).astype(np.float32)


def test_vectors_of_a_retrained_encoder_are_turned_back(first, caplog):
    expected = build(list(range(220)), frozen_from=str(first))
    noise = np.random.default_rng(1).normal(scale=0.01, size=VECTORS.shape)
    after = build(list(range(220)), turned(VECTORS + noise), frozen_from=str(first))
    growth = after.report[-1]["growth"]
    assert expected.report[-1]["growth"]["unaligned_distance"] is None
    assert growth["published_distance"] < 0.5 * growth["unaligned_distance"]
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert (after.codes[1:121] == expected.codes[1:121]).all()
    new = after.codes[121:, 0] == expected.codes[121:, 0]
    assert new.mean() > 0.9  # most of the new items get the prefix that the old encoder would give


def test_vectors_that_have_nothing_to_do_with_the_old_ones_are_noticed(first, caplog):
    other = np.random.default_rng(5).standard_normal((120, 8)).astype(np.float32)
    with caplog.at_level(logging.WARNING):
        after = build(list(range(120)), other, frozen_from=str(first))
    assert "the vectors come from another encoder" in caplog.text
    assert after.codes.tobytes() == Codebook.load(first).codes.tobytes()


def test_a_revision_that_was_warned_about_is_no_measure_for_the_next(first, tmp_path, caplog):
    other = np.random.default_rng(5).standard_normal((120, 8)).astype(np.float32)
    then = Codebook.load(first).report[-1]["codebook_distance"]
    frozen = first
    for revision in ("one", "two", "three"):
        caplog.clear()
        grown = build(list(range(120)), other, frozen_from=str(frozen))
        assert f"and lay {then:.3f} when the generation began" in caplog.text
        assert grown.report[-1]["growth"]["generation_distance"] == then
        frozen = tmp_path / revision
        grown.save(frozen)


def test_encoders_that_turn_a_little_each_time_are_turned_back(first, tmp_path):
    turn = np.eye(8, dtype=np.float32)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    vectors, frozen = VECTORS, first
    distances, turned_back = [], []
    for revision in range(6):
        vectors = (vectors @ turn).astype(np.float32)
        grown = build(list(range(120)), vectors, frozen_from=str(frozen))
        growth = grown.report[-1]["growth"]
        distances.append(growth["published_distance"] / growth["generation_distance"])
        turned_back.append(growth["unaligned_distance"] is not None)
        frozen = tmp_path / str(revision)
        grown.save(frozen)
    assert any(turned_back)
    assert max(distances) <= 1.25


def test_two_published_items_say_nothing_of_the_rotation(first):
    """They can be turned onto their centroids whatever they are; the half that is asked says no."""
    vectors = np.random.default_rng(6).standard_normal((6, 8)).astype(np.float32)
    after = build([0, 1, 200, 201, 202, 203], _at(VECTORS, vectors), frozen_from=str(first))
    assert after.report[-1]["growth"]["unaligned_distance"] is None


def _at(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    changed = vectors.copy()
    changed[[0, 1, 200, 201, 202, 203]] = others
    return changed


def test_distances_of_then_and_now_are_those_where_the_codebooks_are(tmp_path, caplog):
    settings = {"method": "rq_vae", "reassignment": "none"}
    before = build(list(range(120)), **settings)
    before.save(tmp_path / "one")
    frozen = {"frozen_from": str(tmp_path / "one")}
    then = before.report[-1]["codebook_distance"]
    after = build(list(range(120)), **settings, **frozen)
    assert after.report[-1]["growth"]["published_distance"] == pytest.approx(then)
    assert "another encoder" not in caplog.text
    build(list(range(120)), -VECTORS, **settings, **frozen)
    assert f"and lay {then:.3f} when the generation began" in caplog.text


def ask_beforehand(items: list[int], vectors: np.ndarray = VECTORS, **changes) -> None:
    params = codebook_params(**changes)
    frozen = open_published(params.frozen_from)
    require_semantic_ids(world(items)[1], frozen, params, vectors.shape[1])


def refuse(items: list[int], message: str, vectors: np.ndarray = VECTORS, **changes) -> None:
    """Both the extension, and who asks beforehand by the items' ids alone."""
    with pytest.raises(InputError, match=message):
        build(items, vectors, **changes)
    with pytest.raises(InputError, match=message):
        ask_beforehand(items, vectors, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": [16, 17]}, r"that generation has sizes \[16, 16\]"),
        ({"metric": "l2"}, "and metric cosine"),
        (BALANCED, "built by residual_kmeans, the parameters say balanced_residual_kmeans"),
        ({"frozen_from": "no/such/folder"}, "no/such/folder holds no codebook"),
    ],
)
def test_what_does_not_fit_is_refused(first, changes, message):
    refuse(list(range(120)), message, **({"frozen_from": str(first)} | changes))


def test_vectors_of_another_width_are_refused(first):
    wider = np.pad(VECTORS, ((0, 0), (0, 1)))
    message = rf"built on vectors of {VECTORS.shape[1]} numbers and these have {wider.shape[1]}"
    refuse(list(range(120)), message, wider, frozen_from=str(first))


def test_a_generation_that_is_full_says_what_capacity_it_needs(tmp_path):
    build(list(range(60)), sizes=[8, 8]).save(tmp_path / "one")
    settings = {"sizes": [8, 8], "frozen_from": str(tmp_path / "one")}
    message = (
        r"^codebook\.capacity: 160 new items need a semantic ID and 4 are free \(60 items are "
        r"published, 64 IDs hold 1 each\); raise codebook\.capacity to at least 4, or set "
        r"codebook\.frozen_from to null for a new generation$"
    )
    refuse(list(range(220)), message, **settings)
    ask_beforehand(list(range(220)), **settings, capacity=4)
    assert len(build(list(range(220)), **settings, capacity=4).sid_items) == 220


def test_items_that_have_gone_are_not_counted_as_new(tmp_path):
    build(list(range(60)), sizes=[8, 8]).save(tmp_path / "one")
    message = "5 new items need a semantic ID and 4 are free"
    refuse(list(range(58, 65)), message, sizes=[8, 8], frozen_from=str(tmp_path / "one"))


@pytest.mark.parametrize(("sizes", "today"), [([8, 8], 60), ([4, 4, 4], 60), ([8, 8], 30)])
def test_ids_that_published_items_share_leave_the_others_free(sizes, today, tmp_path):
    """So many share theirs that items and room alone would say that there is none."""
    before = build(list(range(60)), sizes=sizes, reassignment="none")
    before.save(tmp_path / "one")
    free = 64 - len(before.sid_keys)
    assert free > 10
    settings = {"sizes": sizes, "frozen_from": str(tmp_path / "one")}
    after = build([*range(today), *range(60, 60 + free)], **settings)
    known, now = sids(before), sids(after)
    assert known.items() <= now.items()
    assert len(set(now.values())) == 64  # each of the others is one new item's
    message = f"{free + 1} new items need .* and {free} are free"
    refuse([*range(today), *range(60, 61 + free)], message, **settings)


def test_items_that_may_share_an_id_are_never_too_many(tmp_path):
    settings = {"sizes": [8, 8], "reassignment": "none"}
    build(list(range(60)), **settings).save(tmp_path / "one")
    after = build(list(range(220)), **settings, frozen_from=str(tmp_path / "one"))
    assert len(after.sid_items) == 220


def test_a_modality_that_a_codebook_of_its_own_has_no_room_for_stops_no_extension(tmp_path, caplog):
    """Its row is a comparison; published items may share IDs beyond the capacity of today."""
    build(list(range(60)), sizes=[8, 8], reassignment="none").save(tmp_path / "one")
    fused, interactions = world(list(range(70)))
    changes = {"sizes": [8, 8], "frozen_from": str(tmp_path / "one"), "per_modality": True}
    params = codebook_params(**changes)
    item_ids, states = np.arange(1, 71, dtype=np.int32), np.full(71, VALID, np.uint8)
    modality = ModalityEmbedding("81", item_ids, VECTORS[:70], states, np.arange(-1, 70), {})
    made = build_codebook(fused, [modality], interactions, params, 1)
    assert [row["source"] for row in made.report] == ["collaborative"]
    assert "81 covers 70 items, more than [8, 8] spell IDs for" in caplog.text
