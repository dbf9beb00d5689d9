"""Similar words, near vectors."""

import numpy as np
import pytest

from model.dataset.interactions import Interactions
from model.dataset.modality_embeddings import read_modality_embedding
from model.dataset.raw_data import describe_raw_data
from model.dataset.readers import read_interactions
from model.errors import InputError
from model.params import InteractionsParams, ModalityEmbeddingsParams, RawDataParams, SplitParams
from tests.tiny import write_tiny_world

LIPSTICKS = ["ruby|Red Lipstick, matte|lips makeup", "coral|RED lipstick (glossy)|lips makeup"]
SHAMPOOS = ["herbal|Herbal shampoo for hair|hair care", "fresh|shampoo: fresh hair!|hair care"]
OTHERS = ["blank||", "odd|unheard-of|"]
# A remedy also where text is the only modality: a file without one is refused.
VECTORS_INSTEAD = (
    r"or name a modality of vectors \(<name>\.NAME\.parquet\) in its place .*at least one$"
)


class Shop:
    def __init__(self, folder, world):
        self.folder, self.world = folder, world
        self.root = folder / "raw"
        self.root.mkdir(parents=True)

    def write(self, item_lines, header="item_id:token|title:token_seq|tags:token_seq"):
        names = [line.split("|")[0] for line in item_lines]
        events = [f"u|{name}|{time}" for time, name in enumerate(names)]
        tables = {
            "item": [header, *item_lines],
            "inter": ["user_id:token|item_id:token|timestamp:float", *events],
        }
        for suffix, lines in tables.items():
            text = "".join(line.replace("|", "\t") + "\n" for line in lines)
            (self.root / f"shop.{suffix}").write_text(text)
        return self

    def read(self, out="out", width=3, ngram_max=1):
        synthetic = self.world.raw_data_params("recbole").synthetic_world
        raw = describe_raw_data(
            RawDataParams(format="recbole", source=str(self.root), synthetic_world=synthetic)
        )
        split = SplitParams(strategy="leave_one_out", validation_fraction=1.0)
        store: Interactions = read_interactions(raw, InteractionsParams(split=split), 0)
        params = ModalityEmbeddingsParams(
            modalities=["text"], text_width=width, text_ngram_max=ngram_max
        )
        found = read_modality_embedding(raw, store, "text", params, self.folder / out)
        rows = {name: row + 1 for row, name in enumerate(store.raw_item_ids.to_pylist())}
        return found, rows


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_tiny_world(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def shop(tmp_path, world):
    return Shop(tmp_path, world)


def test_similar_items_are_near_and_others_far(shop):
    found, rows = shop.write(LIPSTICKS + SHAMPOOS + OTHERS).read()
    matrix = np.asarray(found.matrix, np.float32)
    ruby, coral, herbal, fresh = (
        matrix[found.row_of[rows[name]]] for name in ("ruby", "coral", "herbal", "fresh")
    )
    assert ruby @ coral > 0.9
    assert herbal @ fresh > 0.9
    assert abs(ruby @ herbal) < 0.1
    np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1, atol=2e-3)


def test_items_without_a_common_word_have_no_vector(shop):
    found, rows = shop.write(LIPSTICKS + SHAMPOOS + OTHERS).read()
    assert found.row_of[rows["blank"]] == found.row_of[rows["odd"]] == -1
    assert found.counts["null"] == 2


def test_categories_count_too(shop):
    lines = ["a|lips", "b|lips", "c|hair", "d|hair"]
    found, rows = shop.write(lines, header="item_id:token|kind:token").read()
    a, b, c, _ = (np.asarray(found.matrix[found.row_of[rows[name]]], np.float32) for name in "abcd")
    assert a @ b > 0.99
    assert abs(a @ c) < 0.01


def test_a_category_is_not_the_same_word_in_a_text(shop):
    lines = ["a|lips|", "b|lips|", "c||lips", "d||lips"]
    found, rows = shop.write(lines, header="item_id:token|kind:token|title:token_seq").read()
    a, c = (np.asarray(found.matrix[found.row_of[rows[name]]], np.float32) for name in "ac")
    assert abs(a @ c) < 0.01


def test_words_that_stand_together_count_where_they_are_asked_for(shop):
    lines = ["a|red wine|", "b|red wine|", "c|wine red|", "d|wine red|"]
    shop.write(lines)
    for ngram_max, near in ((1, True), (2, False)):
        found, rows = shop.read(f"out{ngram_max}", ngram_max=ngram_max)
        a, b, c, _ = (
            np.asarray(found.matrix[found.row_of[rows[name]]], np.float32) for name in "abcd"
        )
        assert a @ b > 0.99
        assert (a @ c > 0.99) == near


def test_the_same_files_give_the_same_bytes(shop):
    shop.write(LIPSTICKS + SHAMPOOS + OTHERS)
    shop.read("a")
    shop.read("b")
    for name in ("matrix.npy", "item_ids.npy", "states.npy", "row_of.npy", "modality.json"):
        assert (shop.folder / "a" / name).read_bytes() == (shop.folder / "b" / name).read_bytes()


def test_a_vector_is_not_wider_than_its_vocabulary(shop):
    found, _ = shop.write(LIPSTICKS + SHAMPOOS).read(width=64)
    assert found.width == 4  # items


@pytest.mark.parametrize(
    ("lines", "header", "pattern"),
    [
        (["a|1.0", "b|2.0"], "item_id:token|price:float", "no column of type token"),
        (["a|one", "b|two"], "item_id:token|title:token_seq", "no token occurs in two items"),
        (
            ["a|one", "b|one"],
            "item_id:token|kind:token",
            "'kind=one' is the only token that occurs",
        ),
        (["a|", "b|"], "item_id:token|title:token_seq", "no token occurs in two items"),
    ],
)
def test_nothing_to_go_by(shop, lines, header, pattern):
    with pytest.raises(InputError, match=rf"{pattern}.*; add words, {VECTORS_INSTEAD}"):
        shop.write(lines, header).read()


def test_no_item_file(shop):
    shop.write(LIPSTICKS)
    (shop.root / "shop.item").unlink()
    with pytest.raises(
        InputError, match=rf"needs a file <name>\.item .*; add it, {VECTORS_INSTEAD}"
    ):
        shop.read()


def test_only_recbole_has_text(world, tmp_path):
    with pytest.raises(InputError, match="the format is tencent_parquet; take it out"):
        world.modality_embedding("text", tmp_path / "out")
