"""Parameter files: those that are delivered load; every mistake is named with its key."""

from pathlib import Path

import pytest
import yaml

from model.errors import InputError
from model.params import Params

ROOT = Path(__file__).parents[2]
DELIVERED = [ROOT / "params.yaml", *sorted((ROOT / "params").glob("*.yaml"))]


@pytest.mark.parametrize("file", DELIVERED, ids=lambda file: file.name)
def test_delivered_files_load(file):
    Params.load(file)


def _changed(tmp_path, change):
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    change(values)
    file = tmp_path / "changed.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda v: v.update(sed=1), r"sed: Extra inputs"),
        (lambda v: v.pop("seed"), r"seed: Field required"),
        (lambda v: v["raw_data"].update(format="csv"), r"raw_data\.format: .*'recbole'"),
        (lambda v: v["raw_data"]["synthetic_world"].update(num_items=1), r"num_items: .*100"),
        (
            lambda v: v["raw_data"]["synthetic_world"]["modality_widths"].pop("86"),
            "must name the same modalities",
        ),
        (
            lambda v: v["interactions"]["split"].update(validation_fraction=0),
            r"interactions\.split\.validation_fraction: .*greater than 0",
        ),
        (lambda v: v["coverage_report"]["thresholds"].pop("default"), "entry named default"),
        (
            lambda v: v["coverage_report"]["thresholds"]["81"].update(min_rate=1.5),
            r"thresholds\.81\.min_rate: .*less than or equal to 1",
        ),
        (
            lambda v: v["coverage_report"]["thresholds"].update(
                {"8l": v["coverage_report"]["thresholds"]["81"]}
            ),
            r"coverage_report\.thresholds names \['8l'\]",
        ),
        (
            lambda v: v["network"]["features"].update(modalities=["99"]),
            r"network\.features\.modalities names \['99'\]",
        ),
        (lambda v: v["modality_embeddings"].update(modalities=[]), r"modalities: .*at least 1"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(tmp_path, change, told):
    file = _changed(tmp_path, change)
    with pytest.raises(InputError, match=told) as refused:
        Params.load(file)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_file_and_no_yaml(tmp_path):
    with pytest.raises(InputError, match="no such parameter file"):
        Params.load(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("seed: [1\n")
    with pytest.raises(InputError, match=r"broken\.yaml: not valid YAML.*column 1") as refused:
        Params.load(tmp_path / "broken.yaml")
    assert "\n" not in str(refused.value)
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(InputError, match=r"empty\.yaml: "):
        Params.load(tmp_path / "empty.yaml")
