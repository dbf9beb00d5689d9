"""docs/outputs.md names every file, key and column of a finished data folder, and no other."""

import csv
import json
import re
from collections import defaultdict
from itertools import chain

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from assets.lineage import LINEAGE_FILE, MANIFEST_FILE
from assets.manifest_file import Manifest
from model.inference.quota import save_study, study_run
from orchestration.export import export
from orchestration.workspace import ROOT

TEXT = (ROOT / "docs" / "outputs.md").read_text()
EVERYWHERE = "data/**/"
ARROW_NAMES = {"float": "float32", "large_string": "string"}


def cells_of(text):
    """Rows of all tables of a text but their headers, as lists of cells."""
    for table in re.findall(r"^\|.*(?:\n\|.*)*", text, re.M):
        for line in table.splitlines()[2:]:
            yield [cell.strip() for cell in line.strip("|").split("|")]


def read_values():
    """Values of the placeholders that stand for nothing else, by name."""
    values, name = defaultdict(list), ""
    introduction = TEXT.partition("\n## ")[0]
    for first, meaning in cells_of(introduction):
        name = first.strip("`<>") or name
        if meaning.startswith("`"):
            values[name] += re.findall(r"`([^`]+)`", re.split("[:(]", meaning)[0])
    return values


VALUES = read_values()


def spelled(name):
    """A name with every placeholder whose values are known replaced by each of them."""
    for known in re.findall(r"<(\w+)>", name):
        if known in VALUES:
            chosen = (name.replace(f"<{known}>", value, 1) for value in VALUES[known])
            return [*chain.from_iterable(map(spelled, chosen))]
    return [name]


def pattern(name):
    parts = re.split(r"(<\w+>|\*)", name)
    others = {"<k>": r"\d+", "<n>": r"\d+", "*": ".*"}
    return "".join(
        others.get(part, ".+") if re.fullmatch(r"<\w+>|\*", part) else re.escape(part)
        for part in parts
    )


class Row:
    """One name of the page."""

    def __init__(self, name, type_, meaning):
        self.name, self.type, self.needed = name, type_, "only " not in meaning
        self.steps = [pattern(step) for step in name.replace("[]", ".[]").strip(".").split(".")]
        self.whole = pattern(name)

    def begins(self, path):
        return all(map(re.fullmatch, self.steps, path))


def read_page():
    """By folder and file: the file's own row, and those of its keys or columns."""
    page = {}
    for section in re.split(r"^## ", TEXT, flags=re.M)[1:]:
        heading, _, body = section.partition("\n")
        files, rows = {}, []
        for first, type_, meaning in cells_of(body):
            for bold, name in re.findall(r"(\*\*)?`([^`]+)`", first):
                named = [Row(one, type_, meaning) for one in spelled(name)]
                if bold:
                    files |= {name: (named[0], rows := [])}
                else:
                    rows += named
        for folder in re.findall(r"`([^`]+/)`", heading):
            page[folder] = files
    return page


PAGE = read_page()


def differences(found, rows, fits):
    """Names that the page lacks, and names on the page that nothing has."""
    unknown = [one for one in found if not any(fits(row, one) for row in rows)]
    idle = [row.name for row in rows if row.needed and not any(fits(row, one) for one in found)]
    return unknown, idle


def key_paths(value, rows, at=()):
    """Paths of keys, as deep as the page goes."""
    if not any(len(row.steps) > len(at) and row.begins(at) for row in rows):
        return {at}
    if isinstance(value, dict):
        return set().union(*(key_paths(one, rows, (*at, key)) for key, one in value.items()))
    if isinstance(value, list):
        return set().union(*(key_paths(one, rows, (*at, "[]")) for one in value))
    return {at}


def compare(path, own, rows):
    """How a file differs from the rows below its name."""
    if path.suffix == ".npy":
        return [], [] if str(np.load(path).dtype) == own.type.split()[0] else [own.type]
    if not rows:
        return [], []
    if path.suffix == ".json":
        found = key_paths(json.loads(path.read_text()), rows)
        return differences(
            found, rows, lambda row, one: len(row.steps) == len(one) and row.begins(one)
        )
    if path.suffix == ".csv":
        found = next(csv.reader(path.open()))
        return differences(found, rows, lambda row, one: re.fullmatch(row.whole, one))
    schema = pq.read_schema(path)
    kinds = {field.name: getattr(field.type, "value_type", field.type) for field in schema}
    return differences(
        [(name, ARROW_NAMES.get(str(kind), str(kind))) for name, kind in kinds.items()],
        rows,
        lambda row, one: re.fullmatch(row.whole, one[0]) and row.type.split(",")[0] == one[1],
    )


@pytest.fixture(scope="module")
def asked_for(finished, tmp_path_factory):
    """What the two commands write that a run does not."""
    home = tmp_path_factory.mktemp("asked_for")
    export(finished.workspace, home / "exported")
    params, device = finished.workspace.params, torch.device("cpu")
    save_study(study_run(params, finished.data, device, (), ()), home / "quota_study")
    return {"exported/": home / "exported", "data/quota_study/": home / "quota_study"}


def folders(name, finished, asked_for):
    if name in asked_for:
        return [asked_for[name]]
    if name == EVERYWHERE:
        return [file.parent for file in finished.data.rglob(LINEAGE_FILE)]
    found = finished.data.glob(re.sub(r"<\w+>", "*", name.removeprefix("data/").rstrip("/")))
    return [folder for folder in found if folder.is_dir()]


@pytest.mark.parametrize("name", PAGE)
def test_a_folder_holds_what_the_page_says(name, finished, asked_for):
    found = folders(name, finished, asked_for)
    assert found
    for folder in found:
        files = {f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir()}
        known = [own for own, _ in PAGE[name].values()]
        if name != EVERYWHERE:
            others = files - {LINEAGE_FILE}
            assert differences(others, known, lambda row, one: re.fullmatch(row.whole, one)) == (
                [],
                [],
            )
        for own, rows in PAGE[name].values():
            for file in files:
                if re.fullmatch(own.whole, file):
                    assert compare(folder / file, own, rows) == ([], []), folder / file


def test_a_manifest_has_the_keys_of_its_type():
    _, rows = PAGE["data/submission/<id>/"][MANIFEST_FILE]
    keys = {re.split(r"[.\[]", row.name)[0] for row in rows}
    assert keys == Manifest.__required_keys__ | Manifest.__optional_keys__


def test_the_sample_is_a_result():
    (sample,) = re.findall(r"```json\n(.*?)```", TEXT, re.S)
    made = json.loads(sample)
    _, rows = PAGE["data/submission/<id>/"]["result.json"]
    assert list(made) == [row.name for row in rows]
    assert [len(set(ten)) for ten in made["top10s"]] == [10] * len(made["user"])
