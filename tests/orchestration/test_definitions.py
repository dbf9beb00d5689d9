"""What Dagster's users look for on every asset: who, what, how large, and pictures of it."""

import dagster as dg
import pytest

from assets.device import DEVICE
from orchestration.definitions import build_definitions
from orchestration.workspace import ROOT, open_workspace

NUMBERS = ("dagster/row_count", "bytes", "files", "seconds", "peak_memory_mib")


@pytest.fixture(scope="module")
def definitions(tmp_path_factory):
    return build_definitions(open_workspace(ROOT / "params.yaml", tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def specs(definitions):
    return [spec for assets in definitions.assets for spec in assets.specs]


def test_every_asset_introduces_itself(specs):
    for spec in specs:
        name = spec.key.to_user_string()
        assert spec.group_name in {"dataset", "items", "models", "recommendations", "studies"}, name
        assert spec.kinds, name
        assert spec.owners == ["team:recommendation"], name
        assert len(spec.description) > 20, name
        assert spec.code_version, name
        assert spec.tags["compute"] in {"cpu", "inference", "training"}, name


def test_what_computes_on_the_device_waits_for_it(definitions):
    for assets in definitions.assets:
        for spec in assets.specs:
            pools = {op.pool for op in [assets.node_def]}
            assert pools == ({None} if spec.tags["compute"] == "cpu" else {DEVICE}), spec.key


def test_the_tokenizer_which_searches_on_a_gpu_waits_for_it(specs):
    (spec,) = [spec for spec in specs if spec.key.to_user_string() == "codebook"]
    assert spec.tags["compute"] == "inference"


@pytest.mark.parametrize(("kind", "name"), [("ops", "codebook"), ("resources", "workspace")])
def test_config_that_nobody_would_read_is_refused(definitions, kind, name):
    job = definitions.resolve_job_def("full_retrain")
    assert dg.validate_run_config(job, {kind: {name: {}}})
    with pytest.raises(dg.DagsterInvalidConfigError, match='unexpected config entry "force"'):
        dg.validate_run_config(job, {kind: {name: {"config": {"force": True}}}})


def test_every_finished_asset_shows_its_size_its_cost_and_its_content(finished):
    workspace = finished.workspace
    with dg.DagsterInstance.from_config(str(workspace.home)) as instance:
        for name in workspace.main_line:
            partition = workspace.partitions(workspace.stages[name])[0]
            record = instance.get_latest_data_version_record(
                dg.AssetKey(name), partition_key=partition
            )
            shown = record.asset_materialization.metadata
            for number in NUMBERS:
                assert shown[number].value > 0, f"{name}: {number}"
            # Recorded where the world was made; this is a copy of it.
            folder = workspace.current_folder(name, partition).relative_to(finished.data)
            assert shown["path"].value.endswith(f"/data/{folder}")
            texts = [one.value for one in shown.values() if isinstance(one.value, str)]
            assert any(text.startswith("| ") and " --- |" in text for text in texts), name
            assert any(text.startswith("![") and "(data:image/" in text for text in texts), name
