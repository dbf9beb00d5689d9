"""What Dagster is told of artefacts that it has not made."""

import shutil

from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from model.artifact import atomic_write
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
