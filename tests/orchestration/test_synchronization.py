"""What Dagster is told of artefacts that it has not made."""

import asyncio
import shutil

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

from assets.lineage import Lineage
from model.artifact import atomic_write
from orchestration import synchronization
from orchestration.definitions import build_definitions
from orchestration.instance import open_instance
from orchestration.synchronization import report_existing


def _stale(instance, workspace):
    """Causes by asset, as the asset pages show them."""
    graph = build_definitions(workspace).resolve_asset_graph()
    context = LoadingContextForTest(instance)
    resolver = CachingStaleStatusResolver(instance, graph, context)
    line = [graph.get(key).key for key in graph.get_all_asset_keys()]
    return {
        key.to_user_string(): [cause.reason for cause in resolver.get_stale_root_causes(key)]
        for key in line
        if key.to_user_string() in workspace.main_line
        and resolver.get_status(key) != StaleStatus.FRESH
    }


def test_what_another_machine_has_made_is_not_out_of_date(copied):
    workspace = copied.workspace
    shutil.rmtree(workspace.home)  # as after `dvc pull` into a fresh checkout
    with open_instance(workspace) as instance:
        told = report_existing(instance, workspace)
        assert {target.asset for target in told} == set(workspace.main_line)
        assert _stale(instance, workspace) == {}
        assert report_existing(instance, workspace) == []


@pytest.mark.parametrize("arguments", [(), ("submission", "--only", "--force")])
def test_materialize_tells_of_it_before_it_makes_anything(copied, arguments):
    workspace = copied.workspace
    shutil.rmtree(workspace.home)
    done = copied.onepiece("materialize", *arguments)
    assert done.returncode == 0, done.stderr
    with open_instance(workspace) as instance:
        assert _stale(instance, workspace) == {}
        assert report_existing(instance, workspace) == []


def test_a_job_is_told_of_it_as_well(copied):
    workspace = copied.workspace
    shutil.rmtree(workspace.home)
    job = build_definitions(workspace).resolve_job_def("refresh_submission")
    with open_instance(workspace) as instance:
        assert job.execute_in_process(instance=instance).success
        assert _stale(instance, workspace) == {}


def test_a_submission_of_another_champion_is_out_of_date(copied):
    workspace = copied.workspace
    shutil.rmtree(workspace.home)
    home = workspace.folder("champion")
    other = home / "another"
    shutil.copytree(workspace.input_folder("champion"), other)
    atomic_write(home / "champion", f"{other.name}\n")
    with open_instance(workspace) as instance:
        report_existing(instance, workspace)
        assert set(_stale(instance, workspace)) == {"submission"}


def _shown(instance, workspace):
    """Metadata by asset and partition, and outcome by check, as the asset pages show them."""
    metadata, checks = {}, {}
    for name in workspace.main_line:
        for key in workspace.partitions(workspace.stages[name]):
            record = instance.get_latest_data_version_record(dg.AssetKey(name), partition_key=key)
            metadata[name, key] = record.asset_materialization.metadata
    for assets in build_definitions(workspace).assets:
        for key in assets.check_keys:
            if key.asset_key.to_user_string() in workspace.main_line:
                checks[key.to_user_string()] = _outcome(instance, key)
    return metadata, checks


def _outcome(instance, key):
    context = LoadingContextForTest(instance)
    record = asyncio.run(AssetCheckExecutionRecord.gen(context, key))
    assert asyncio.run(record.targets_latest_materialization(context)), key
    facts = record.evaluation
    return facts.passed, facts.description, facts.severity, facts.blocking, dict(facts.metadata)


def test_it_is_shown_and_judged_as_if_a_run_had_found_it(copied):
    workspace = copied.workspace
    assert copied.onepiece("materialize", "submission", "--only").returncode == 0
    with open_instance(workspace) as instance:
        metadata, checks = _shown(instance, workspace)
    shutil.rmtree(workspace.home)
    with open_instance(workspace) as instance:
        report_existing(instance, workspace)
        told, judged = _shown(instance, workspace)
    assert judged == checks
    assert {"submission:ten_different_items", "evaluation_report:better_than_counting"} < set(
        judged
    )
    for one, shown in told.items():
        made_here = metadata[one].keys() - {"machine", "backend"}
        assert shown.keys() == made_here | {"made by"}, one
        assert shown["reused"].value
        differing = {name for name in made_here if shown[name] != metadata[one][name]}
        assert differing <= {"path", "reused", "seconds", "peak_memory_mib"}, one


def test_what_cannot_be_described_is_told_of_in_short(copied, caplog):
    workspace = copied.workspace
    shutil.rmtree(workspace.home)
    (workspace.folder("evaluation_report") / "metrics.json").write_text("{")
    made = Lineage.read(workspace.folder("coverage_report"))
    workspace.refusals.await_judgement("coverage_report", made)  # by the run that has just made it
    with open_instance(workspace) as instance:
        told = report_existing(instance, workspace)
        assert {target.asset for target in told} == set(workspace.main_line)
        assert report_existing(instance, workspace) == []
        for name in ("evaluation_report", "coverage_report"):
            record = instance.get_latest_data_version_record(dg.AssetKey(name))
            assert set(record.asset_materialization.metadata) == {"path", "made by"}
    assert "evaluation_report: cannot be described" in caplog.text
    assert "coverage_report" not in caplog.text


def test_what_somebody_tells_meanwhile_is_not_told_again(copied, monkeypatch):
    workspace = copied.workspace
    shutil.rmtree(workspace.home)
    with open_instance(workspace) as instance:
        show = synchronization._show

        def meanwhile(*arguments):
            monkeypatch.setattr(synchronization, "_show", show)
            assert report_existing(instance, workspace)
            return show(*arguments)

        monkeypatch.setattr(synchronization, "_show", meanwhile)
        assert report_existing(instance, workspace) == []
