"""One truth behind two doors: what Dagster made DVC has, and the other way round."""

import dagster as dg
import yaml

from tests.orchestration.command import onepiece, run
from tests.orchestration.tiny_repository import DVC


def _versions_in_dagster(root):
    with dg.DagsterInstance.from_config(str(root / ".dagster")) as instance:
        versions = {}
        for target in _versions_in_dvc(root):
            asset, _, partition = target.partition("@")
            record = instance.get_latest_data_version_record(
                dg.AssetKey(asset), partition_key=partition or None
            )
            tags = record.asset_materialization.tags if record else {}
            versions[target] = tags.get("dagster/data_version")
        return versions


def _versions_in_dvc(root):
    stages = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    return {name: entry["outs"][0]["md5"] for name, entry in stages.items()}


def _nothing_left_to_do(root):
    status = run(DVC, "status", cwd=root)
    assert "up to date" in status.stdout, status.stdout
    assert "Running stage" not in run(DVC, "repro", cwd=root).stdout
    assert "everything: up to date" in onepiece("materialize", cwd=root).stderr
    assert _versions_in_dagster(root) == _versions_in_dvc(root)


def _set(root, section, **values):
    file = root / "params.yaml"
    params = yaml.safe_load(file.read_text())
    params[section].update(values)
    file.write_text(yaml.safe_dump(params, sort_keys=False))


def test_from_either_door_the_other_sees_nothing_to_do(reproduced):
    _nothing_left_to_do(reproduced)

    _set(reproduced, "cascade", beam_width=4)
    done = onepiece("materialize", cwd=reproduced)
    assert done.returncode == 0, done.stderr
    assert "evaluation_report: making it" in done.stderr
    assert "codebook: making it" not in done.stderr
    _nothing_left_to_do(reproduced)


def test_another_data_folder_leaves_dvc_alone(reproduced, tmp_path):
    before = (reproduced / "dvc.lock").read_bytes()
    done = onepiece("materialize", "item_statistics", "--data", tmp_path / "mine", cwd=reproduced)
    assert done.returncode == 0, done.stderr
    assert (reproduced / "dvc.lock").read_bytes() == before
    assert (tmp_path / "mine" / ".dagster").is_dir()
