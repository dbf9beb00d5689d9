"""One tiny world, written in all three input formats: 40 users, 60 known items, 8 cold candidates.

    world = write_tiny_world(tmp_path)
    interactions = world.interactions("tencent_parquet")

The three folders hold the same facts, so the three stores must be equal.
"""

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.dataset.interactions import Interactions
from model.dataset.modality_embeddings import ModalityEmbedding, read_modality_embedding
from model.dataset.raw_data import RawData, describe_raw_data
from model.dataset.readers import read_interactions
from model.dataset.recbole import in_hashed_order
from model.params import (
    InteractionsParams,
    ModalityEmbeddingsParams,
    Params,
    RawDataParams,
    SplitParams,
)

FORMATS = ("tencent_parquet", "tencent_jsonl", "recbole")
NUM_USERS, NUM_KNOWN_ITEMS, NUM_COLD = 40, 60, 8
NUM_ITEMS = NUM_KNOWN_ITEMS + NUM_COLD
MODALITY_WIDTHS = {"81": 8, "82": 12, "83": 6}
ITEM_SCALARS, ITEM_ARRAYS = {"100": 4, "102": 12}, {"130": 5}
USER_SCALARS, USER_ARRAYS = {"103": 6, "104": 2}, {"106": 4, "108": 3}
SEED = 7
_RAW = 10_000_000  # a raw feature value is the feature's number times this plus a small number
_UNSEEN = "999"
PARAMS_FILE = Path(__file__).parents[1] / "params.yaml"


@dataclass(frozen=True)
class TinyWorld:
    """The facts; item i (1..68) stands at i - 1 of every list, user u at u.

    Scalars hold codes from 1 (0 is missing), arrays lists of codes; events are (item, action or
    None, time); vectors map an item id to a list, to None for a null row, and ids from 100 on to
    items that nobody knows.
    """

    folder: Path
    raw_items: list[int]
    raw_users: list[str]
    items: dict[str, list[Any]]
    users: dict[str, list[Any]]
    events: list[list[tuple[int, int | None, int]]]
    candidates: list[int]
    vectors: dict[str, dict[int, list[float] | None]]

    def root(self, layout: str) -> Path:
        return self.folder / layout

    def raw_data_params(self, layout: str) -> RawDataParams:
        synthetic = Params.load(PARAMS_FILE).raw_data.synthetic_world
        return RawDataParams(
            format=layout, source=str(self.root(layout)), synthetic_world=synthetic
        )

    def raw_data(self, layout: str = "tencent_parquet") -> RawData:
        return describe_raw_data(self.raw_data_params(layout))

    def interactions(
        self,
        layout: str = "tencent_parquet",
        strategy: str = "leave_one_out",
        validation_fraction: float = 1.0,
    ) -> Interactions:
        split = SplitParams(strategy=strategy, validation_fraction=validation_fraction)
        return read_interactions(self.raw_data(layout), InteractionsParams(split=split), SEED)

    def modality_embedding(
        self, modality: str, out_folder: Path, layout: str = "tencent_parquet"
    ) -> ModalityEmbedding:
        params = ModalityEmbeddingsParams(modalities=[modality], text_width=8, text_ngram_max=1)
        raw, interactions = self.raw_data(layout), self.interactions(layout)
        return read_modality_embedding(raw, interactions, modality, params, out_folder)


def write_tiny_world(folder: Path) -> TinyWorld:
    """Write ``folder/tencent_parquet``, ``folder/tencent_jsonl`` and ``folder/recbole``."""
    world = _draw_world(folder)
    for layout in FORMATS:
        world.root(layout).mkdir(parents=True)
    _write_parquet(world)
    _write_jsonl(world)
    _write_recbole(world)
    return world


def _draw_world(folder: Path) -> TinyWorld:
    rng = np.random.default_rng(SEED)
    raw = 20_000_000_000 + rng.choice(6_000_000, NUM_ITEMS, replace=False)
    known = in_hashed_order(pa.array(raw[:NUM_KNOWN_ITEMS]).cast(pa.large_string()))
    raw_items = [int(value) for value in known.to_pylist()] + raw[NUM_KNOWN_ITEMS:].tolist()
    items: dict[str, list[Any]] = {}
    for name, size in ITEM_SCALARS.items():
        items[name] = _codes(rng, size, NUM_ITEMS)
    for name, size in ITEM_ARRAYS.items():
        items[name] = _lists(rng, size, NUM_ITEMS)
    users: dict[str, list[Any]] = {}
    for name, size in USER_SCALARS.items():
        users[name] = _codes(rng, size, NUM_USERS)
    for name, size in USER_ARRAYS.items():
        users[name] = _lists(rng, size, NUM_USERS)
    for name in ("102", "130"):  # what training never saw; the codes of the files are marked
        items[name][-1] = [] if name in ITEM_ARRAYS else 0
    return TinyWorld(
        folder=folder,
        raw_items=raw_items,
        raw_users=[f"user_{number:08d}" for number in rng.choice(10**6, NUM_USERS, replace=False)],
        items=items,
        users=users,
        events=[_history(rng, 1 if user == 0 else int(rng.integers(3, 20))) for user in range(40)],
        candidates=_draw_candidates(rng),
        vectors={name: _vectors(rng, width) for name, width in MODALITY_WIDTHS.items()},
    )


def _draw_candidates(rng: np.random.Generator) -> list[int]:
    """In order of retrieval: 25 known items and all cold ones, which are numbered in this order."""
    known = rng.choice(NUM_KNOWN_ITEMS, 25, replace=False) + 1
    order = rng.permutation(np.concatenate([known, np.full(NUM_COLD, NUM_ITEMS)]))
    order[order > NUM_KNOWN_ITEMS] = np.arange(NUM_KNOWN_ITEMS + 1, NUM_ITEMS + 1)
    return order.tolist()


def _codes(rng: np.random.Generator, size: int, rows: int) -> list[int]:
    """Every code once in front, so that all occur among the known; then any, or none (0)."""
    return [*range(1, size + 1), *rng.integers(0, size + 1, rows - size).tolist()]


def _lists(rng: np.random.Generator, size: int, rows: int) -> list[list[int]]:
    lists = [rng.integers(1, size + 1, rng.integers(0, 4)).tolist() for _ in range(rows - 1)]
    return [list(range(1, size + 1)), *lists]


def _history(rng: np.random.Generator, length: int) -> list[tuple[int, int | None, int]]:
    steps = rng.choice([0, 40, 4_000, 90_000], length)
    times = 1_745_000_000 + int(rng.integers(0, 500_000)) + np.cumsum(steps)
    popular = np.minimum(rng.geometric(0.06, length), NUM_KNOWN_ITEMS)
    actions = rng.choice([0, 1, 2, -1], length, p=[0.6, 0.2, 0.15, 0.05]).tolist()
    return [
        (int(item), None if action < 0 else action, int(time))
        for item, action, time in zip(popular, actions, times, strict=True)
    ]


def _vectors(rng: np.random.Generator, width: int) -> dict[int, list[float] | None]:
    """Most items; one null and one zero row, and two items that are in no other file."""
    covered = rng.choice(NUM_ITEMS, 50, replace=False) + 1
    values = rng.integers(-64, 65, (len(covered), width)) / 64  # exact in float16 and as text
    rows: dict[int, list[float] | None] = dict(zip(covered.tolist(), values.tolist(), strict=True))
    rows[int(covered[3])], rows[int(covered[4])] = None, [0.0] * width
    rows[100], rows[101] = [1.0] * width, [0.5] * width
    return rows


def raw_id(world: TinyWorld, item: int) -> int:
    """The raw id of an item, also of those from 100 on that nobody knows."""
    return world.raw_items[item - 1] if item <= NUM_ITEMS else 29_000_000_000 + item


def indexer(world: TinyWorld) -> dict[str, dict[Any, Any]]:
    """The content of ``indexer.pkl``."""
    sizes = ITEM_SCALARS | ITEM_ARRAYS | USER_SCALARS | USER_ARRAYS
    return {
        "u": {name: index + 1 for index, name in enumerate(world.raw_users)},
        "i": {raw: index + 1 for index, raw in enumerate(world.raw_items[:NUM_KNOWN_ITEMS])},
        "f": {
            name: {_token(name, code): code for code in range(1, size + 1)}
            for name, size in sizes.items()
        },
        "a": {1: 1, 0: 2},
    }


def _token(name: str, code: int) -> int:
    return int(name) * _RAW + code


def _write_parquet(world: TinyWorld) -> None:
    root = world.root("tencent_parquet")
    (root / "indexer.pkl").write_bytes(pickle.dumps(indexer(world)))
    kind = pa.list_(
        pa.struct([("item_id", pa.int64()), ("action_type", pa.int32()), ("timestamp", pa.int64())])
    )
    names = ("item_id", "action_type", "timestamp")
    sequences = [[dict(zip(names, event, strict=True)) for event in row] for row in world.events]
    users = np.arange(1, NUM_USERS + 1)
    _two_files(root / "seq", {"user_id": users, "seq": pa.array(sequences, kind)})
    _two_files(root / "user_feat", {"user_id": users} | _feature_columns(world.users, NUM_USERS))
    known = np.random.default_rng(1).permutation(NUM_KNOWN_ITEMS)
    table = pa.table(
        {"item_id": np.arange(1, NUM_KNOWN_ITEMS + 1)}
        | _feature_columns(world.items, NUM_KNOWN_ITEMS)
    ).take(known)
    _two_files(root / "item_feat", dict(zip(table.column_names, table.columns, strict=True)))
    (root / "candidate").mkdir()
    pq.write_table(parquet_candidates(world), root / "candidate" / "part-0.parquet")
    for name, rows in world.vectors.items():
        folder = root / "mm_emb" / f"emb_{name}_{MODALITY_WIDTHS[name]}_parquet"
        cids = pa.array([str(raw_id(world, item)) for item in rows])
        vectors = pa.array(rows.values(), pa.list_(pa.float32()))
        _two_files(folder, {"anonymous_cid": cids, "emb": vectors})


def _two_files(folder: Path, columns: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    table = pa.table(columns)
    half = table.num_rows // 2
    pq.write_table(table.slice(0, half), folder / "part-00000.parquet")
    pq.write_table(table.slice(half), folder / "part-00001.parquet")


def _feature_columns(features: dict[str, list[Any]], rows: int) -> dict[str, pa.Array]:
    return {
        name: pa.array([value or None for value in values[:rows]])
        for name, values in features.items()
    }


def parquet_candidates(
    world: TinyWorld, *, id_name: str = "item_id", flag: str = "cold_start"
) -> pa.Table:
    """The candidate table, in either spelling."""
    order = np.random.default_rng(2).permutation(len(world.candidates))
    columns: dict[str, Any] = {
        id_name: [raw_id(world, item) for item in world.candidates],
        "retrieval_id": pa.array(range(len(world.candidates)), pa.int32()),
    }
    for name in ITEM_SCALARS:
        kind = pa.struct([(flag, pa.int32()), ("feature_value", pa.string())])
        columns[name] = pa.array(
            [_parquet_value(world, name, item, flag) for item in world.candidates], kind
        )
    for name in ITEM_ARRAYS:
        kind = pa.struct([(flag, pa.int32()), ("feature_value", pa.list_(pa.string()))])
        columns[name] = pa.array(
            [_parquet_value(world, name, item, flag) for item in world.candidates], kind
        )
    return pa.table(columns).take(order)


def _parquet_value(world: TinyWorld, name: str, item: int, flag: str) -> dict[str, Any]:
    value = _candidate_value(world, name, item)
    unseen = value == _UNSEEN or value == [_UNSEEN]
    text = [str(code) for code in value] if isinstance(value, list) else value and str(value)
    return {flag: None if value is None else int(unseen), "feature_value": text}


def _candidate_value(world: TinyWorld, name: str, item: int) -> Any:
    if item == NUM_ITEMS and name in ("102", "130"):
        return [_UNSEEN] if name in ITEM_ARRAYS else _UNSEEN
    return world.items[name][item - 1] or None


def _write_jsonl(world: TinyWorld) -> None:
    root = world.root("tencent_jsonl")
    (root / "indexer.pkl").write_bytes(pickle.dumps(indexer(world)))
    lines = [_json_line(world, user) for user in range(NUM_USERS)]
    starts = np.cumsum([0] + [len(line) for line in lines])[:-1].tolist()
    (root / "seq.jsonl").write_bytes(b"".join(lines))
    (root / "seq_offsets.pkl").write_bytes(pickle.dumps(starts))
    features = {
        str(item): _json_features(world.items, item - 1) for item in range(1, NUM_KNOWN_ITEMS + 1)
    }
    (root / "item_feat_dict.json").write_text(json.dumps(features))
    (root / "predict_set.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in json_candidates(world))
    )
    (root / "creative_emb").mkdir()
    pickled = {
        raw_id(world, item): None if vector is None else np.array(vector, np.float32)
        for item, vector in world.vectors["81"].items()
    }
    (root / "creative_emb" / "emb_81_8.pkl").write_bytes(pickle.dumps(pickled))
    for name in ("82", "83"):
        folder = root / "creative_emb" / f"emb_{name}_{MODALITY_WIDTHS[name]}"
        folder.mkdir()
        rows = [
            json.dumps({"anonymous_cid": str(raw_id(world, item)), "emb": vector}) + "\n"
            for item, vector in world.vectors[name].items()
        ]
        (folder / "part-00000.json").write_text("".join(rows[:20]))
        (folder / "part-00001.json").write_text("".join(rows[20:]))


def _json_features(features: dict[str, list[Any]], row: int) -> dict[str, Any]:
    return {name: values[row] for name, values in features.items() if values[row]}


def _json_line(world: TinyWorld, user: int) -> bytes:
    profile = _json_features(world.users, user)
    last = world.events[user][-1][2]
    records: list[list[Any]] = [[user + 1, None, profile, None, None, last]]
    records += [
        [user + 1, item, None, _json_features(world.items, item - 1), action, time]
        for item, action, time in world.events[user]
    ]
    return json.dumps(records).encode() + b"\n"


def json_candidates(world: TinyWorld) -> list[dict[str, Any]]:
    """The lines of ``predict_set.jsonl``."""
    names = [*ITEM_SCALARS, *ITEM_ARRAYS]
    return [
        {
            "creative_id": raw_id(world, item),
            "retrieval_id": order,
            "reid_creative_id": item if item <= NUM_KNOWN_ITEMS else raw_id(world, item),
            "features": {
                name: value
                for name in names
                if (value := _candidate_value(world, name, item)) is not None
            },
        }
        for order, item in enumerate(world.candidates)
    ]


def _write_recbole(world: TinyWorld) -> None:
    root = world.root("recbole")
    events = [
        (time, world.raw_users[user], raw_id(world, item), "" if action is None else action)
        for user, history in enumerate(world.events)
        for item, action, time in history
    ]
    events.sort(key=lambda event: event[0])  # stable: equal times keep their order
    lines = [f"{user}\t{item}\t{action}\t{time}" for time, user, item, action in events]
    header = "user_id:token\titem_id:token\taction_type:token\ttimestamp:float"
    (root / "tiny.inter").write_text("\n".join([header, *lines]) + "\n")
    names = [(name, "token") for name in ITEM_SCALARS] + [(n, "token_seq") for n in ITEM_ARRAYS]
    known = np.random.default_rng(3).permutation(NUM_KNOWN_ITEMS) + 1
    for suffix, ids in (("item", known.tolist()), ("candidate", world.candidates)):
        rows = [
            [str(raw_id(world, item)), *(_cell(world.items, name, item - 1) for name, _ in names)]
            for item in ids
        ]
        _write_atomic(root / f"tiny.{suffix}", "item_id", names, rows)
    names = [(name, "token") for name in USER_SCALARS] + [(n, "token_seq") for n in USER_ARRAYS]
    rows = [
        [raw, *(_cell(world.users, name, user) for name, _ in names)]
        for user, raw in enumerate(world.raw_users)
    ]
    _write_atomic(root / "tiny.user", "user_id", names, rows)
    for name, vectors in world.vectors.items():
        table = pa.table(
            {
                "item_id": [str(raw_id(world, item)) for item in vectors],
                "emb": pa.array(vectors.values(), pa.list_(pa.float32())),
            }
        )
        pq.write_table(table, root / f"tiny.{name}.parquet")


def _write_atomic(
    path: Path, key: str, names: list[tuple[str, str]], rows: list[list[str]]
) -> None:
    header = [f"{key}:token", *(f"{name}:{kind}" for name, kind in names)]
    path.write_text("".join("\t".join(cells) + "\n" for cells in [header, *rows]))


def _cell(features: dict[str, list[Any]], name: str, row: int) -> str:
    if row == NUM_ITEMS - 1 and name in ("102", "130"):
        return _UNSEEN
    value = features[name][row]
    codes = value if isinstance(value, list) else [value] if value else []
    return " ".join(str(_token(name, code)) for code in codes)
