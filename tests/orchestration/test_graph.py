"""One graph, drawn twice: Dagster's and dvc.yaml's are held together here."""

import re
from pathlib import Path

import dagster as dg
import grimp
import pytest
import yaml

from model.params import Params
from model.training.task import CODE
from orchestration.automation import build_jobs
from orchestration.definitions import build_definitions
from orchestration.workspace import ROOT, open_workspace

COMMAND = "python -m orchestration materialize --only "
DOCUMENT = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return open_workspace(ROOT / "params.yaml", tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def assets(workspace):
    graph = build_definitions(workspace).resolve_asset_graph()
    return {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}


def test_the_same_nodes(assets):
    assert set(assets) == set(DOCUMENT)


def test_the_same_edges(assets, workspace):
    for name, node in assets.items():
        drawn = {key.to_user_string() for key in node.parent_keys}
        assert drawn == set(workspace.stages[name].inputs), name


def test_the_same_partitions(assets, workspace):
    for name, node in assets.items():
        partitions = node.partitions_def.get_partition_keys() if node.partitions_def else None
        keys = workspace.stages[name].partitions(workspace.values)
        assert partitions == (keys if "foreach" in DOCUMENT[name] else None), name
    assert DOCUMENT["modality_embeddings"]["foreach"] == "${modality_embeddings.modalities}"


def test_the_same_versions(assets, workspace):
    for name, node in assets.items():
        stage = workspace.stages[name]
        assert node.code_version == stage.version(ROOT, workspace.values), name


def test_one_noun_in_four_places():
    """Asset, stage, command and folder have one name."""
    for name, entry in DOCUMENT.items():
        body, suffix = (entry["do"], "@${item}") if "foreach" in entry else (entry, "")
        assert body["cmd"] == f"{COMMAND}{name}{suffix}"
        if body.get("frozen"):
            continue
        (out,) = body["outs"]
        path = next(iter(out)) if isinstance(out, dict) else out
        assert path == f"data/{name}{suffix.replace('@', '/')}"


@pytest.mark.parametrize("name", ["codebook", "champion", "submission"])
def test_dvc_does_not_remove_what_the_next_run_looks_at(name):
    """`dvc repro` clears all other outputs before it runs their stage."""
    assert DOCUMENT[name]["outs"] == [{f"data/{name}": {"persist": True}}]


def test_what_dvc_leaves_alone_is_off_the_main_line(workspace):
    """A frozen stage is skipped by `dvc repro`; were it to have outputs, they would be missed."""
    frozen = {name for name, entry in DOCUMENT.items() if entry.get("frozen")}
    assert frozen == {"tuning_study"}
    assert not any(DOCUMENT[name].get("outs") for name in frozen)
    (job,) = [job for job in build_jobs(workspace) if job.name == "full_retrain"]
    graph = build_definitions(workspace).resolve_asset_graph()
    retrained = {key.to_user_string() for key in job.selection.resolve(graph)}
    assert retrained == set(workspace.main_line)
    assert not frozen & retrained


def test_every_parameter_belongs_to_some_stage():
    listed = {
        key for entry in DOCUMENT.values() for key in entry.get("do", entry).get("params", [])
    }
    sections = {key.split(".")[0] for key in listed}
    assert sections == set(Params.model_fields) - {"automation"}  # when, not what


def test_every_dependency_exists(workspace):
    for stage in workspace.stages.values():
        for path in stage.code:
            assert (ROOT / path).exists(), f"{stage.name}: {path}"


@pytest.fixture(scope="module")
def imports():
    return grimp.build_graph("assets", "model")


@pytest.mark.parametrize("name", DOCUMENT)
def test_code_dependencies_are_the_modules_that_an_asset_imports(name, workspace, imports):
    """Neither a module that decides the result is forgotten, nor one listed that does not."""
    roots = {f"assets.{name}"}
    if "assets.training_worker" in imports.find_modules_directly_imported_by(f"assets.{name}"):
        module = "scaling" if name == "scaling_points" else "training"
        roots.add(f"model.{module}.__main__")  # imported by the worker process
    if name == "tuning_study":
        roots.add("assets.tuning.worker")  # likewise
    used = set(roots)
    for root in roots:
        used |= imports.find_upstream_modules(root)
    files = {path for module in used if (path := _file(module)) and _decides(path)}
    code = workspace.stages[name].code
    forgotten = {file for file in files if not any(_covers(path, file) for path in code)}
    idle = {path for path in code if not any(_covers(path, file) for file in files)}
    assert not forgotten, f"{name}: not among its deps in dvc.yaml"
    assert not idle, f"{name}: listed in dvc.yaml but not imported"


@pytest.mark.parametrize("name", ["encoder_checkpoint", "recommender_checkpoint"])
def test_an_unfinished_training_is_of_the_code_of_its_stage(name, workspace):
    code = {path for path in workspace.stages[name].code if path.startswith("model/")}
    assert {f"model/{path}" for path in CODE} == code


# What only carries artefacts around, or shows them, has no say in what is in them.
MACHINERY = re.compile(
    r"assets/(artifact_asset|aside|checks|device|frozen_codebook|hashing|ledger|lineage|lineage_page"
    r"|lineage_text|locks|machine|maker|manifest|manifest_file|measurement|peak_memory|published_ids"
    r"|raw_source|recorder|refusals|report_metadata|report_pictures|stages|staleness"
    r"|training_metadata|training_worker|transient|workspace|__init__)\.py"
    r"|model/(artifact|compiled|errors|parent_process|partial_folders|pictures|progress|sources"
    r"|__init__)\.py"
    r"|model/params/\w+\.py"  # values decide, and are named one by one
    r"|model/inference/champion\.py"  # names a folder
    r"|model/tokenizer/(given_out|published|room)\.py"  # refuse, or open what codebook opens
    r"|model/\w+/__init__\.py"
)


def _file(module: str) -> str | None:
    path = Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if (ROOT / candidate).exists():
            return candidate.as_posix()
    return None


def _decides(path: str) -> bool:
    return MACHINERY.fullmatch(path) is None


def _covers(dependency: str, file: str) -> bool:
    return file == dependency or file.startswith(f"{dependency}/")


def test_definitions_load_as_dagster_loads_them(workspace):
    dg.Definitions.validate_loadable(build_definitions(workspace))
