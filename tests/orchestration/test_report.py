"""`onepiece report` tells what lies in the folder, not what the parameter file would make."""

import json
import re
import shlex

import pytest
import yaml

from assets.workspace import CHAMPION, SUBMISSION
from orchestration.report import who_competes
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
    assert _facts(done.stdout) == _facts(finished.onepiece("report").stdout)
    assert all(f"\n  {name} " in done.stdout for name in shown)
    assert "cascade" in done.stdout and "manifest.json" in done.stdout


def _facts(report):
    """Without the commands that it ends with, which name the parameter file."""
    return report.partition("Manifest")[0]


def test_the_commands_that_it_ends_with_act_on_the_same_folder(copied, tmp_path):
    """One of them is run as it is printed, with a data folder whose name a shell would split."""
    data = copied.data.rename(tmp_path / "rb ü")
    done = onepiece("report", "--params", copied.params_file, "--data", data)
    commands = re.findall(r"onepiece (?:lineage|explain|ui)\b[^,)\n]*", done.stdout)
    assert [command.split()[1] for command in commands] == ["lineage", "explain", "ui"]
    for command in commands:
        assert shlex.split(command)[-4:] == [
            "--params",
            str(copied.params_file),
            "--data",
            str(data),
        ]
    assert "make ui" not in done.stdout
    shown = onepiece(*shlex.split(commands[0])[1:])
    assert shown.returncode == 0, shown.stderr


def test_its_facts_for_programs(finished):
    done = finished.onepiece("report", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    metrics = json.loads((finished.data / "evaluation_report" / "metrics.json").read_text())
    assert facts["evaluation"] == metrics
    assert set(facts["coverage"]) == {"81", "82"}
    assert [row["source"] for row in facts["collisions"]] == ["81", "82", "collaborative"]
    assert facts["model"] == facts["champion"] == finished.workspace.input_folder(CHAMPION).name
    assert facts["submission"] == str(finished.workspace.current_folder(SUBMISSION))


@pytest.mark.parametrize("name", ["masked_actions", "search_alone", "cascade_default_action"])
def test_the_figures_of_an_earlier_version_are_refused(copied, name):
    file = copied.data / "evaluation_report" / "metrics.json"
    metrics = json.loads(file.read_text())
    del metrics[name]
    file.write_text(json.dumps(metrics))
    done = copied.onepiece("report")
    assert done.returncode == 2
    assert f"written by another version ({name} missing); materialise" in done.stderr


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({}, "5 users, ranked among 150 candidates, seen items masked"),
        ({"allowed_items": 116}, "among 116 of 150 candidates, seen items masked"),
        ({"masked_actions": []}, "150 candidates, seen items not masked"),
        ({"masked_actions": [1, 2]}, "150 candidates, items of own clicks and conversions masked"),
        ({"targets_not_candidates": 2}, "2 are no candidates, which count as missed"),
        (
            {"targets_not_candidates": 2, "cascade_losses": {"seen_filtered": {"users": 1}}},
            "2 are no candidates and 1 had been seen before, which count as missed",
        ),
    ],
)
def test_it_says_among_what_targets_were_looked_for(facts, told):
    evaluation = {
        "users": 5,
        "candidates": 150,
        "allowed_items": 150,
        "masked_actions": [0, 1, 2],
        "targets_not_candidates": 0,
        "cascade_losses": {"seen_filtered": {"users": 0}},
    }
    assert who_competes({**evaluation, **facts}).endswith(told)
