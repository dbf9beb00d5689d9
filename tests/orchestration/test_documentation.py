"""Every command of README.md and docs/ is run: here on a tiny world, or by the test named here."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model.dataset.interactions import Interactions
from orchestration.workspace import ROOT
from tests.orchestration.command import ENVIRONMENT
from tests.parameters_page import PAGE, descriptions_of, page

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Data that no test has: a tiny world, already finished, stands in for it under the same names.
LARGE = {
    "params/amazon_beauty.yaml": "beauty",
    "params/tencentgr_10m.yaml": "tencentgr_10m",
    "params/paper_infonce_16_layers.yaml": "infonce_16",
    "params/paper_sid_12_layers.yaml": "sid_12",
}

# What would take a machine, an installation or a repository of its own: file, test, pattern.
_REPOSITORY = "tests/orchestration/test_recorded_repository.py"
RUN_ELSEWHERE = (
    (
        "tests/orchestration/test_documentation.py",
        "test_make_lists_what_the_pages_name",
        r"make( test| long| gc)?",
    ),
    (
        "tests/orchestration/test_documentation.py",
        "test_make_runs_the_commands",
        r"make (demo|doctor|install|ui)( GPU=[01])?|source \.venv/bin/activate",
    ),
    (
        "tests/orchestration/test_documentation.py",
        "test_every_benchmark_starts",
        r"python -m tests\.bench.*",
    ),
    ("tests/orchestration/test_ui.py", "test_it_listens_on_this_machine_alone", r"onepiece ui.*"),
    (
        "tests/orchestration/test_two_doors.py",
        "test_from_either_door_the_other_sees_nothing_to_do",
        r"dvc repro",
    ),
    (
        _REPOSITORY,
        "test_another_checkout_pulls_all_and_has_nothing_to_do",
        r"dvc (push|pull|status|checkout|add .*)|git (add|commit|checkout).*|onepiece sync",
    ),
    (
        _REPOSITORY,
        "test_an_experiment_leaves_both_doors_in_step",
        r"dvc (exp|metrics|params).*|onepiece materialize --params my\.yaml --data elsewhere",
    ),
    (_REPOSITORY, "test_two_submissions_are_told_apart", r"onepiece diff A B"),
    (_REPOSITORY, "test_plots_are_drawn_from_the_templates", r"dvc plots show.*"),
    (_REPOSITORY, "test_a_remote_of_a_team_is_nobody_elses_business", r"dvc remote .*"),
    (
        "tests/orchestration/test_champion.py",
        "test_a_challenger_is_judged_and_the_way_back_is_one_command",
        r"onepiece rollback.*",
    ),
    (
        _REPOSITORY,
        "test_an_older_submission_is_made_again_though_its_raw_files_and_parameters_have_changed",
        r"onepiece rebuild.*",
    ),
    (
        "tests/model/training/test_processes.py",
        "test_several_processes_get_the_losses_of_one",
        r"torchrun .* -m model\.training .*",
    ),
    (
        "tests/orchestration/test_shards.py",
        "test_two_processes_fill_the_shards_of_one_for_the_submission",
        r"torchrun .* -m model\.inference .*",
    ),
    (
        "tests/orchestration/test_tuning.py",
        "test_from_the_command_line",
        r"onepiece (tune|adopt|materialize tuning_study).*",
    ),
    (
        _REPOSITORY,
        "test_the_tuning_study_is_frozen_until_somebody_asks",
        r"dvc (un)?freeze .*|dvc repro tuning_study",
    ),
    (
        "tests/orchestration/test_scaling.py",
        "test_a_point_more_or_a_point_lost_leaves_the_others_alone",
        r"onepiece (materialize scaling_study|plan).*",
    ),
)


def commands_of(file: Path) -> list[str]:
    """The lines of all ``sh`` blocks, without comments; continued lines are joined."""
    found = []
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", file.read_text(), re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"(^|\s)\s*# .*$", "", line).strip()
            if command:
                found.append(re.sub(r"\s+", " ", command))
    return found


def mentioned_in(file: Path) -> list[str]:
    """Commands inside the text."""
    code = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", file.read_text(), flags=re.S))
    return [one for one in code if re.match(r"(onepiece|dvc|make|torchrun) ", one)]


def runs_elsewhere(command: str) -> bool:
    """Whether a test of its own runs it."""
    return any(re.fullmatch(pattern, command) for _, _, pattern in RUN_ELSEWHERE)


@pytest.fixture(scope="module")
def desk(finished, tmp_path_factory):
    """A folder like the repository's, with a tiny world's parameters and finished artefacts."""
    folder = tmp_path_factory.mktemp("desk")
    for data in ("data", *LARGE.values()):
        shutil.copytree(finished.data, folder / data)
    (folder / "params").mkdir()
    for params_file in ("params.yaml", *LARGE):
        shutil.copy(finished.params_file, folder / params_file)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / "tour").mkdir()
    _write_files_of(ROOT / "docs" / "your_data.md", folder)
    _write_environment(folder / ".venv")
    return folder


def _write_files_of(document: Path, folder: Path) -> None:
    """What a page shows as a file, under the name that it gives it."""
    for name, content in re.findall(
        r"^`(\S+)`:\n\n```tsv\n(.*?)^```", document.read_text(), re.M | re.S
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)


def _write_environment(folder: Path) -> None:
    """An installed one: `make` has nothing to install, and its commands are these sources'."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "activate").write_text(f'export PATH="{folder / "bin"}:$PATH"\n')
    commands = {"python": "", "onepiece": "-m orchestration", "dvc": "-m dvc"}
    for name, module in commands.items():
        file = folder / "bin" / name
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        file.chmod(0o755)
    for device in ("cpu", "gpu"):
        (folder / f".installed-{device}").touch()


def _bash(command: str, desk: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(desk / ".venv" / "bin"), ENVIRONMENT["PATH"]])
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", command],
        cwd=desk,
        env={**ENVIRONMENT, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def _with_ids(command: str, desk: Path) -> str:
    """A user's and an item's id for the words that stand for one."""
    events = Interactions.load(desk / "data" / "interactions")
    user, item = events.raw_user_ids[0].as_py(), events.raw_item_ids[0].as_py()
    return re.sub(r"\bITEM\b", item, re.sub(r"\bUSER\b", user, command))


@pytest.mark.long
@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_the_commands_of_a_page_run(file, desk):
    if file.name == "your_data.md":  # whose files fit the file that it begins with
        shutil.copy(ROOT / "params" / "amazon_beauty.yaml", desk / "params")
    for command in commands_of(file):
        if not runs_elsewhere(command):
            done = _bash(_with_ids(command, desk), desk)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_commands_inside_the_text_are_run_as_well(file):
    run = {command for page in PAGES for command in commands_of(page)}
    forms = {re.sub(r" --params .*", "", command) for command in run}
    assert [one for one in mentioned_in(file) if one not in forms and not runs_elsewhere(one)] == []


@pytest.mark.parametrize(("file", "name", "pattern"), RUN_ELSEWHERE)
def test_the_tests_named_here_exist_and_are_needed(file, name, pattern):
    assert f"def {name}(" in (ROOT / file).read_text()
    every = [one for page in PAGES for one in (*commands_of(page), *mentioned_in(page))]
    assert any(re.fullmatch(pattern, one) for one in every)


def test_make_lists_what_the_pages_name(desk):
    listed = set(re.findall(r"make (\w+)", _bash("make", desk).stdout))
    named = {one for file in PAGES for one in re.findall(r"`make (\w+)", file.read_text())}
    assert named <= listed
    assert {"demo", "test", "doctor", "ui"} <= listed


@pytest.mark.parametrize("target", ["demo", "doctor", "install GPU=1", "-n ui", "-n repro"])
def test_make_runs_the_commands(desk, target):
    done = _bash(f"source .venv/bin/activate; touch .venv/.installed-*; make {target}", desk)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("NDCG@10" in done.stdout) == target.startswith("demo")


def test_every_benchmark_starts():
    names = sorted(
        {
            name
            for file in PAGES
            for name in re.findall(r"python -m (tests\.benchmarks\.\w+)", file.read_text())
        }
    )
    assert names
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name).main"
    done = subprocess.run(
        [sys.executable, "-c", code, *names],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_parameter_page_is_that_of_the_code():
    text = PAGE.read_text()
    known = descriptions_of(text)
    assert [key for key, description in known.items() if not description] == []
    assert text == page(known), "run `python -m tests.parameters_page` and describe new keys"


def test_links_between_pages_lead_somewhere():
    for file in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name}: {target}"
