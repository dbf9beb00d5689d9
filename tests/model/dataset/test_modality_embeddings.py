"""Vectors find their items by id alone, and every item knows why it has none."""

import dataclasses
import json
import pickle
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.dataset import vector_files
from model.dataset.modality_embeddings import ModalityEmbedding, read_modality_embedding
from model.dataset.raw_data import describe_raw_data
from model.dataset.vector_states import MISSING, NOT_FINITE, NULL, VALID, WRONG_WIDTH, ZERO
from model.errors import InputError
from model.params import ModalityEmbeddingsParams
from tests.damage import damage
from tests.tiny import MODALITY_WIDTHS, NUM_ITEMS, write_tiny_world

WIDTH = 3


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_tiny_world(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def interactions(world):
    return world.interactions()


class Scene:
    """Reads made-up vectors of modality 90 for the tiny world's items, given by item id."""

    def __init__(self, world, interactions, folder):
        self.world, self.interactions, self.folder = world, interactions, folder
        self.root = folder / "raw"
        shutil.copytree(world.root("tencent_parquet"), self.root)
        self.vectors = self.root / "mm_emb" / f"emb_90_{WIDTH}_parquet"
        self.vectors.mkdir()

    def write(self, rows, name="part-0.parquet", kind=None):
        """``rows``: pairs of item id and vector."""
        ids = [str(self.world.raw_items[item - 1]) for item, _ in rows]
        vectors = pa.array([vector for _, vector in rows], kind or pa.list_(pa.float32()))
        pq.write_table(pa.table({"anonymous_cid": ids, "emb": vectors}), self.vectors / name)
        return self

    def read(self, out="out"):
        params = self.world.raw_data_params("tencent_parquet")
        raw = describe_raw_data(params.model_copy(update={"source": str(self.root)}))
        params = ModalityEmbeddingsParams(modalities=["90"], text_width=8, text_ngram_max=1)
        return read_modality_embedding(raw, self.interactions, "90", params, self.folder / out)


@pytest.fixture
def scene(world, interactions, tmp_path):
    return Scene(world, interactions, tmp_path)


def test_vectors_stand_at_their_items(world, tmp_path):
    for name, width in MODALITY_WIDTHS.items():
        found = world.modality_embedding(name, tmp_path / name)
        rows = world.vectors[name]
        valid = sorted(i for i, v in rows.items() if i <= NUM_ITEMS and v is not None and any(v))
        assert found.item_ids.tolist() == valid
        assert found.matrix.dtype == np.float16
        assert found.matrix.tolist() == [rows[item] for item in valid]
        assert found.width == width
        assert found.counts == {
            "rows": 52,
            "unmatched": 2,
            "duplicates": 0,
            "missing": NUM_ITEMS - 50,
            "valid": 48,
            "null": 1,
            "zero": 1,
            "not_finite": 0,
            "wrong_width": 0,
        }


def test_every_item_has_a_state(scene):
    scene.write(
        [
            (1, [1.0, 2.0, 3.0]),
            (2, None),
            (3, [0.0, 0.0, 0.0]),
            (4, [1.0, float("nan"), 0.0]),
            (5, [float("inf"), 1.0, 1.0]),
            (6, [1.0, 2.0]),
            (7, []),
            (8, [1.0, None, 1.0]),
            (9, [1e6, 0.0, 0.0]),  # infinite in float16
            (10, [1e-9, 0.0, 0.0]),  # zero in float16
            (11, [1.0, 2.0, 3.0, 4.0]),
            (12, [3.0, 2.0, 1.0]),
        ]
    )
    found = scene.read()
    expected = [VALID, NULL, ZERO, NOT_FINITE, NOT_FINITE, WRONG_WIDTH, WRONG_WIDTH, NOT_FINITE]
    expected += [NOT_FINITE, ZERO, WRONG_WIDTH, VALID, MISSING]
    assert found.states[:14].tolist() == [MISSING, *expected]
    assert found.item_ids.tolist() == [1, 12]
    assert found.matrix.tolist() == [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]
    assert found.row_of[[0, 1, 2, 12, 13]].tolist() == [-1, 0, -1, 1, -1]


def test_the_order_of_rows_and_files_does_not_matter(scene):
    rng = np.random.default_rng(0)
    rows = [(item, rng.standard_normal(WIDTH).tolist()) for item in range(1, 31)]
    rows[4] = (5, None)
    first = scene.write(rows).read("a")
    shuffled = [rows[index] for index in rng.permutation(len(rows))]
    scene.write(shuffled[:11], "part-0.parquet").write(shuffled[11:], "part-1.parquet")
    second = scene.read("b")
    for name in ("matrix", "item_ids", "states", "row_of"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    a, b = (scene.folder / name / "matrix.npy" for name in ("a", "b"))
    assert a.read_bytes() == b.read_bytes()


def test_small_chunks_give_the_same_file(scene, monkeypatch):
    rng = np.random.default_rng(0)
    rows = [(int(item), rng.standard_normal(WIDTH).tolist()) for item in rng.permutation(60) + 1]
    rows += [(item, vector) for item, vector in rows[:9]]  # repeated in a later chunk
    rows[7] = (rows[7][0], None)
    rows[60 + 7] = (rows[7][0], None)
    scene.write(rows)
    expected = scene.read("a")
    monkeypatch.setattr(vector_files, "ParquetVectors", _OneRowAtATime)
    found = scene.read("b")
    np.testing.assert_array_equal(found.matrix, expected.matrix)
    np.testing.assert_array_equal(found.states, expected.states)
    assert found.counts == expected.counts
    assert found.counts["duplicates"] == 9


class _OneRowAtATime(vector_files.ParquetVectors):
    def chunks(self):
        for chunk in super().chunks():
            for row in range(len(chunk.null)):
                start, end = chunk.offsets[row : row + 2]
                yield dataclasses.replace(
                    chunk,
                    null=chunk.null[row : row + 1],
                    offsets=np.array([0, end - start]),
                    values=chunk.values[start:end],
                )


@pytest.mark.parametrize("second", [[1.0, 2.0, 4.0], None, [0.0, 0.0, 0.0], [1.0]])
@pytest.mark.parametrize("files", [1, 2])
def test_an_id_with_two_different_vectors_is_refused(scene, second, files):
    rows = [(5, [1.0, 1.0, 1.0]), (7, [1.0, 2.0, 3.0]), (7, second)]
    if files == 1:
        scene.write(rows)
    else:
        scene.write(rows[:2]).write(rows[2:], "part-1.parquet")
    with pytest.raises(InputError, match=f"id {scene.world.raw_items[6]} has two different"):
        scene.read()


def test_equal_repeats_are_counted(scene):
    found = scene.write([(5, [1.0, 1.0, 1.0]), (7, [1.0, 2.0, 3.0]), (7, [1.0, 2.0, 3.0])]).read()
    assert found.item_ids.tolist() == [5, 7]
    assert found.counts["duplicates"] == 1


def test_json_strings_are_vectors_too(scene):
    vectors = [[1.0, 2.5, -3.0], None, [0.0, 0.0, 0.0], [1.0, float("nan"), 0.0]]
    text = [vector and json.dumps(vector) for vector in vectors]
    scene.write([(item + 1, value) for item, value in enumerate(text)], kind=pa.string())
    found = scene.read()
    assert found.states[1:5].tolist() == [VALID, NULL, ZERO, NOT_FINITE]
    assert found.matrix.tolist() == [[1.0, 2.5, -3.0]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("oops", "not a JSON list"), ('[1]}\n{"emb": [1]', "more than one JSON list")],
)
def test_a_string_that_is_no_list_is_refused(scene, text, reason):
    scene.write([(1, "[1.0, 2.0, 3.0]"), (2, text)], kind=pa.string())
    with pytest.raises(InputError, match=rf"part-0\.parquet.*{reason}"):
        scene.read()


@pytest.mark.parametrize(
    ("kind", "vector", "named"),
    [
        (pa.list_(pa.string()), ["a", "b", "c"], "list<element: string>"),
        (pa.list_(pa.list_(pa.float32())), [[1.0], [2.0], [3.0]], "list<element: list"),
        (pa.list_(pa.struct([("x", pa.float32())])), [{"x": 1.0}], "list<element: struct"),
        (pa.float32(), 1.0, "float"),
    ],
)
def test_a_column_of_something_else_is_refused(scene, kind, vector, named):
    scene.write([(1, vector)], kind=kind)
    with pytest.raises(InputError, match=f"column emb must be a list of numbers.*is {named}"):
        scene.read()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"anonymous_cid": "ID", "emb": [1.0, 2', "not valid JSON lines"),
        ('{"anonymous_cid": "ID", "emb": ["a"]}', "not valid JSON lines"),
        ("", "modality 90 covers no item, no rows"),
        ("\r\n\n", "modality 90 covers no item, no rows"),
        ("[1, 2]", "no line has the key anonymous_cid"),
        (
            '{"anonymous_cid": 1, "emb": [1.0]}\n{"anonymous_cid": "2", "emb": [1.0]}',
            "get it again, or write all ids alike, quoted or not",
        ),
        ('{"emb": [1.0]}', r"part\.json: no line has the key anonymous_cid; every vector needs"),
        ('{"anonymous_cid": null, "emb": [1.0]}', "none of its 1 ids is known"),
    ],
)
def test_json_lines_that_cannot_be(world, tmp_path, line, reason):
    line = line.replace("ID", str(world.raw_items[0]))
    _refused_jsonl(world, tmp_path, "emb_90_3/part.json", line.encode(), reason)


@pytest.mark.parametrize(
    "vector",
    [
        *("abc", ["a"], 3.0, np.ones((2, 3)), b"123", {1.0, 2.0, 3.0}, np.array([b"1", b"2"])),
        *([True, False, True], (1.0, np.True_), np.ones(3, bool), np.array([1.0, True], object)),
    ],
    ids=[
        *("text", "texts", "number", "matrix", "bytes", "set", "array of bytes"),
        *("bools", "a bool", "array of bools", "objects"),
    ],
)
def test_pickles_that_cannot_be(world, tmp_path, vector):
    content = pickle.dumps({world.raw_items[0]: vector})
    reason = f"the vector of {world.raw_items[0]} is not a list of numbers; get it again"
    _refused_jsonl(world, tmp_path, "emb_90_3.pkl", content, reason)


def test_a_pickle_whose_key_is_no_text(world, tmp_path):
    reason = r"key '\\ud800' is not text in Unicode; it must be a raw id"
    _refused_jsonl(world, tmp_path, "emb_90_3.pkl", pickle.dumps({"\ud800": [1.0]}), reason)


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_an_empty_file_of_lines_is_a_shard_without_rows(world, tmp_path, content):
    expected = world.modality_embedding("82", tmp_path / "a", "tencent_jsonl")
    shutil.copytree(world.folder, tmp_path / "copy")
    copy = dataclasses.replace(world, folder=tmp_path / "copy")
    folder = copy.root("tencent_jsonl") / "creative_emb" / "emb_82_12"
    for name in ("part-.json", "part-00009.json"):
        (folder / name).write_bytes(content)
    found = copy.modality_embedding("82", tmp_path / "b", "tencent_jsonl")
    assert found.counts == expected.counts


def test_an_empty_parquet_file_whose_columns_have_no_type(scene):
    scene.write([(1, [1.0, 2.0, 3.0])])
    pd.DataFrame({"anonymous_cid": [], "emb": []}, dtype=object).to_parquet(
        scene.vectors / "part-1.parquet"
    )
    assert scene.read().item_ids.tolist() == [1]


@pytest.mark.parametrize(
    ("kind", "vector", "state"),
    [
        (pa.null(), None, NULL),
        (pa.list_(pa.null()), None, NULL),
        (pa.list_(pa.null()), [], WRONG_WIDTH),
        (pa.list_(pa.null()), [None] * WIDTH, NOT_FINITE),
    ],
)
def test_a_file_in_which_no_vector_stands(scene, kind, vector, state):
    """Its column has no type of its own; the other files decide."""
    scene.write([(1, vector), (2, vector)], kind=kind)
    found = scene.write([(3, [1.0, 2.0, 3.0])], "part-1.parquet").read()
    assert found.states[1:4].tolist() == [state, state, VALID]


def test_a_pickle_of_something_else(world, tmp_path):
    reason = "must hold a dict of raw id to vector"
    _refused_jsonl(world, tmp_path, "emb_90_3.pkl", pickle.dumps([1, 2]), reason)


def _refused_jsonl(world, tmp_path, name, content, reason):
    root = tmp_path / "raw"
    shutil.copytree(world.root("tencent_jsonl"), root)
    file = root / "creative_emb" / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    params = world.raw_data_params("tencent_jsonl").model_copy(update={"source": str(root)})
    with pytest.raises(InputError, match=reason) as refused:
        read_modality_embedding(
            describe_raw_data(params),
            world.interactions("tencent_jsonl"),
            "90",
            ModalityEmbeddingsParams(modalities=["90"], text_width=8, text_ngram_max=1),
            tmp_path / "out",
        )
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["matrix.npy", "states.npy", "row_of.npy", "item_ids.npy"])
@pytest.mark.parametrize("kept", [None, 0, 60, -2])
def test_a_damaged_artefact_is_named(scene, name, kept):
    scene.write([(item, [1.0, 2.0, 3.0]) for item in range(1, 9)]).read()
    damage(scene.folder / "out" / name, kept)
    reason = "not found" if kept is None else "truncated or not an array"
    with pytest.raises(InputError, match=rf"{name}: {reason}.*materiali[sz]e"):
        ModalityEmbedding.load(scene.folder / "out")


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float64()),
        pa.list_(pa.int8()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float32(), WIDTH),
        pa.list_(pa.float16()),
        pa.list_(pa.float16(), WIDTH),
    ],
)
def test_any_list_type_will_do(scene, kind):
    vector = np.array([1, 2, 3], kind.value_type.to_pandas_dtype())
    found = scene.write([(3, vector), (4, None)], kind=kind).read()
    assert found.matrix.tolist() == [[1.0, 2.0, 3.0]]
    assert found.states[[3, 4]].tolist() == [VALID, NULL]


@pytest.mark.parametrize(
    "kind",
    [pa.int64(), pa.uint64(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
)
def test_any_type_of_ids_will_do(scene, kind):
    ids = pa.array([scene.world.raw_items[2]])
    ids = ids.cast(kind) if pa.types.is_integer(kind) else ids.cast(pa.string()).cast(kind)
    table = pa.table({"anonymous_cid": ids, "emb": [[1.0, 2.0, 3.0]]})
    pq.write_table(table, scene.vectors / "part-0.parquet")
    assert scene.read().item_ids.tolist() == [3]


def test_the_width_is_that_of_the_vectors_not_of_the_name(scene, caplog):
    found = scene.write([(1, [1.0, 2.0]), (2, [2.0, 3.0]), (3, [1.0, 2.0, 3.0])]).read()
    assert found.width == 2
    assert found.states[3] == WRONG_WIDTH
    assert "modality 90 is 2 wide, not 3" in caplog.text


@pytest.mark.parametrize(
    "name, width", [("a-few.parquet", 3), ("a-few.parquet", 2), ("part-1.parquet", 2)]
)
def test_a_few_vectors_of_another_width_decide_nothing_wherever_they_stand(scene, name, width):
    common = [(item, [1.0] * width) for item in range(1, 21)]
    few = [(item, [1.0] * 5) for item in range(21, 24)]
    found = scene.write(common).write(few, name).read()
    assert found.width == width
    assert found.states[[20, 21, 23]].tolist() == [VALID, WRONG_WIDTH, WRONG_WIDTH]


def test_between_two_widths_the_name_decides(scene):
    found = scene.write([(1, [1.0, 2.0]), (2, [1.0, 2.0, 3.0])]).read()
    assert found.width == WIDTH
    assert found.states[[1, 2]].tolist() == [WRONG_WIDTH, VALID]


def test_a_modality_that_is_there_twice_is_refused(scene):
    scene.write([(1, [1.0, 2.0, 3.0])])
    shutil.copytree(scene.vectors, scene.vectors.with_name("emb_90_4_parquet"))
    with pytest.raises(InputError, match=r"modality 90 is there more than once.*keep one"):
        scene.read()


def test_json_lines_whose_first_id_comes_late(world, tmp_path):
    root = tmp_path / "raw"
    shutil.copytree(world.root("tencent_jsonl"), root)
    folder = root / "creative_emb" / "emb_90_2"
    folder.mkdir()
    lines = ['{"anonymous_cid": null, "emb": [1, 2]}']
    lines += [f'{{"anonymous_cid": "{raw}", "emb": [1, 2]}}' for raw in world.raw_items[:3]]
    (folder / "part.json").write_text("\n" + "\r\n".join(lines))
    params = world.raw_data_params("tencent_jsonl").model_copy(update={"source": str(root)})
    found = read_modality_embedding(
        describe_raw_data(params),
        world.interactions("tencent_jsonl"),
        "90",
        ModalityEmbeddingsParams(modalities=["90"], text_width=8, text_ngram_max=1),
        tmp_path / "out",
    )
    assert found.item_ids.tolist() == [1, 2, 3]
    assert found.counts["unmatched"] == 1


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([(1, None), (2, None)], "raw: modality 90 covers no item, every vector is null"),
        ([(1, [0.0, 0.0, 0.0])], "none of its vectors is valid"),
        ([(1, [float("nan")] * 3), (2, [0.0] * 3)], "none of its vectors is valid"),
    ],
)
def test_a_modality_without_a_covered_item_is_refused(scene, rows, reason):
    with pytest.raises(InputError, match=reason):
        scene.write(rows).read()
    assert not (scene.folder / "out").exists()


def test_ids_that_nobody_knows_are_refused_when_there_are_no_others(scene):
    table = pa.table({"anonymous_cid": ["1", "2"], "emb": [[1.0, 2.0, 3.0]] * 2})
    pq.write_table(table, scene.vectors / "part-0.parquet")
    with pytest.raises(InputError, match="none of its 2 ids is known"):
        scene.read()


def test_a_modality_without_rows_is_refused(scene):
    scene.write([(1, [1.0, 2.0, 3.0])])
    path = scene.vectors / "part-0.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(InputError, match="modality 90 covers no item, no rows; vectors and"):
        scene.read()


def test_a_missing_modality_names_those_that_are_there(world, interactions, tmp_path):
    params = ModalityEmbeddingsParams(modalities=["99"], text_width=8, text_ngram_max=1)
    for layout, there in (
        ("tencent_parquet", "emb_81_8_parquet"),
        ("tencent_jsonl", r"emb_81_8\.pkl"),
        ("recbole", r"tiny\.81\.parquet"),
    ):
        with pytest.raises(InputError, match=there):
            read_modality_embedding(
                world.raw_data(layout), interactions, "99", params, tmp_path / "out"
            )


def test_a_truncated_file_is_named(scene):
    scene.write([(item, [1.0, 2.0, 3.0]) for item in range(1, 60)])
    path = scene.vectors / "part-0.parquet"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"part-0\.parquet: truncated or not a valid parquet"):
        scene.read()


def test_a_missing_column_is_named(scene):
    table = pa.table({"anonymous_cid": [str(scene.world.raw_items[0])], "vector": [[1.0]]})
    pq.write_table(table, scene.vectors / "part-0.parquet")
    with pytest.raises(InputError, match="column emb is missing"):
        scene.read()


def test_a_full_disk_is_noticed_before_writing(scene, monkeypatch):
    scene.write([(1, [1.0, 2.0, 3.0])])
    usage = shutil._ntuple_diskusage(100, 99, 1)
    monkeypatch.setattr("model.artifact.shutil.disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="needs about 6 bytes and 1 are free"):
        scene.read()


def test_a_saved_copy_is_the_same(scene):
    found = scene.write([(1, [1.0, 2.0, 3.0]), (9, [3.0, 2.0, 1.0])]).read()
    found.save(scene.folder / "copy")
    copy = ModalityEmbedding.load(scene.folder / "copy")
    assert copy.counts == found.counts
    np.testing.assert_array_equal(copy.matrix, found.matrix)
    np.testing.assert_array_equal(copy.row_of, found.row_of)


def test_a_hostile_pickle_of_vectors_is_refused(world, tmp_path):
    root = tmp_path / "raw"
    shutil.copytree(world.root("tencent_jsonl"), root)
    (root / "creative_emb" / "emb_81_8.pkl").write_bytes(pickle.dumps({1: _Hostile()}))
    params = world.raw_data_params("tencent_jsonl").model_copy(update={"source": str(root)})
    with pytest.raises(InputError, match=r"emb_81_8\.pkl: refused"):
        read_modality_embedding(
            describe_raw_data(params),
            world.interactions("tencent_jsonl"),
            "81",
            ModalityEmbeddingsParams(modalities=["81"], text_width=8, text_ngram_max=1),
            tmp_path / "out",
        )


class _Hostile:
    def __reduce__(self):
        return (exec, ("raise SystemExit",))
