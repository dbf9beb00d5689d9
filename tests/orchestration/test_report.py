"""`onepiece report` tells what lies in the folder, not what the parameter file would make."""

import yaml

from tests.orchestration.command import onepiece


def test_the_parameter_file_may_have_changed_since(finished, tmp_path):
    values = yaml.safe_load(finished.params_file.read_text())
    shown = values["modality_embeddings"]["modalities"]
    values["modality_embeddings"]["modalities"] = ["99"]
    values["network"]["features"]["modalities"] = ["99"]
    thresholds = values["coverage_report"]["thresholds"]
    values["coverage_report"]["thresholds"] = {"default": thresholds["default"]}
    changed = tmp_path / "params.yaml"
    changed.write_text(yaml.safe_dump(values))
    done = onepiece("report", "--params", changed, "--data", finished.data)
    assert done.returncode == 0, done.stderr
    assert done.stdout == finished.onepiece("report").stdout
    assert all(f"\n  {name} " in done.stdout for name in shown)
    assert "cascade" in done.stdout and "manifest.json" in done.stdout
