"""The command line as a user meets it: another process, its exit code and what it says."""

import errno
import json
import logging
import signal
import socket
import sqlite3
import subprocess
import sys
import tomllib
from datetime import datetime

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from assets import manifest
from model.errors import InputError
from model.progress import IN_BAR
from orchestration import __main__
from orchestration.failures import told
from orchestration.workspace import ROOT
from tests.orchestration.command import ENVIRONMENT, onepiece, run
from tests.orchestration.small_manifest import small_manifest
from tests.orchestration.tiny_world import write_tiny_params


def _params(folder, change):
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    change(values)
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


COMMANDS = [command.__name__ for command in __main__.COMMANDS]


def test_help_lists_every_command():
    done = onepiece("--help")
    assert done.returncode == 0
    assert {"materialize", "synthesize", "lineage", "verify", "diff", "rebuild", "ui"} <= set(
        COMMANDS
    )
    for name in COMMANDS:
        assert name in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name):
    done = onepiece(name, "--help")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) > 4


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda values: values["codebook"].update(sises=[4, 4]), "codebook.sises"),
        (lambda values: values["network"].pop("dim"), "network.dim"),
        (lambda values: values["optimizer"].update(clip_norm=-1), "optimizer.clip_norm"),
        (lambda values: values["automation"].update(timezone="Mars"), "automation.timezone"),
    ],
)
def test_a_wrong_key_is_named_in_one_sentence(tmp_path, change, told):
    file = _params(tmp_path, change)
    done = onepiece("materialize", "--params", file, "--data", tmp_path / "data")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert told in line
    assert str(file) in line
    assert not (tmp_path / "data").exists()


def test_a_missing_parameter_file_is_named(tmp_path):
    done = onepiece("materialize", "--params", tmp_path / "none.yaml")
    assert done.returncode == 2
    assert "none.yaml: no such parameter file" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["materialize", "raw_data"],
        ["submissions"],
        ["sync"],
        ["rollback"],
        ["report"],
        ["tokenize"],
    ],
)
def test_a_file_in_place_of_the_data_folder_is_named(tmp_path, command):
    (tmp_path / "file").write_text("mine")
    done = onepiece(*command, "--data", tmp_path / "file" / "below")
    assert done.returncode == 2
    assert done.stderr == f"onepiece: {tmp_path}/file: a file, where a folder is needed; " + (
        "choose another folder\n"
    )
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["new", "--users", "0"], "0 is not in the range"),
        (["new", "--items", "5"], "5 is not in the range"),
        (["new", "--users", "many"], "'many' is not a valid integer"),
        (["file"], "file: a file, where a folder is needed"),
    ],
)
def test_a_world_that_cannot_be(tmp_path, arguments, told):
    (tmp_path / "file").write_text("mine")
    folder, *options = arguments
    done = onepiece("synthesize", tmp_path / folder, *options)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_pages_small_world_fits_the_repositorys_parameters(tmp_path):
    done = onepiece("synthesize", tmp_path / "files", "--users", "300", "--items", "400")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path}/files: 300 users, 400 items\n"
    assert pq.read_table(tmp_path / "files" / "candidate").num_rows == 80  # of 6,000 for 30,000


def test_an_unknown_asset_gets_the_list_of_known_ones(tmp_path):
    done = onepiece("materialize", "codebok", "--data", tmp_path)
    assert done.returncode == 2
    assert "codebok: no such asset" in done.stderr
    assert "codebook" in done.stderr


def test_an_unknown_partition_gets_the_list_of_known_ones(tmp_path):
    done = onepiece("materialize", "modality_embeddings@87", "--data", tmp_path)
    assert done.returncode == 2
    assert "81, 82" in done.stderr


def test_asking_for_a_submission_that_is_not_there(tmp_path):
    for command in (["lineage"], ["verify"], ["diff", "a", "b"], ["rebuild"], ["report"]):
        done = onepiece(*command, "--data", tmp_path)
        assert done.returncode == 2, command
        assert len(done.stderr.splitlines()) == 1, command
        assert "materialize" in done.stderr or "materialise" in done.stderr, command


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("explain u", "champion/champion: not found; materialise champion"),
        ("costs", "nothing was made yet; run `onepiece materialize --data {data}`"),
        ("recommend i", "champion/champion: not found; materialise champion"),
        ("export {data}/new", "champion/champion: not found; materialise champion"),
        ("explain u --test", "with the same --params and --data makes what is missing"),
        ("quotas", "with the same --params and --data makes what is missing"),
        ("rollback", "champion/champion: not found; materialise champion"),
        ("rollback abc", "champion/champion: not found; materialise champion"),
        ("adopt", "no trial is finished; run `onepiece tune --data {data}` first"),
    ],
)
def test_where_nothing_was_made_nothing_is_left_behind(tmp_path, command, told):
    where = ["--params", str(ROOT / "params.yaml"), "--data", str(tmp_path)]
    arguments = [*command.format(data=tmp_path).split(), *where]
    refused = CliRunner().invoke(__main__.app, arguments).exception
    assert isinstance(refused, InputError)
    assert str(refused).startswith(str(tmp_path))
    assert str(refused).endswith(told.format(data=tmp_path))
    assert not list(tmp_path.iterdir())


def test_control_c_is_one_sentence(tmp_path):
    world = {"num_users": 50_000, "num_items": 20_000}
    file = _params(tmp_path, lambda values: values["raw_data"]["synthetic_world"].update(world))
    where = ("--params", str(file), "--data", str(tmp_path / "data"))
    with subprocess.Popen(
        [sys.executable, "-m", "orchestration", "materialize", "raw_data", *where],
        cwd=ROOT,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stderr:
            if "raw_data: making it" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest.strip() == "onepiece: interrupted; the same command resumes"
    assert not (tmp_path / "data" / "raw_data").exists()
    assert [path for path in tmp_path.rglob("*") if ".partial-" in path.name] == []


def test_a_missing_parent_is_named(tmp_path):
    done = onepiece("materialize", "--only", "interactions", "--data", tmp_path)
    assert done.returncode == 2
    assert "raw_data/lineage.json: not found" in done.stderr


@pytest.mark.parametrize(
    ("git", "told"),
    [
        ({"revision": "3d31bc6", "dirty": False}, "revision 3d31bc6"),
        ({"revision": "3d31bc6", "dirty": True}, "revision 3d31bc6 (with uncommitted changes)"),
        ({"revision": None, "dirty": None}, "revision outside git"),
    ],
)
def test_the_version_is_that_of_the_project_and_of_the_code(monkeypatch, git, told):
    monkeypatch.setattr(manifest, "git_state", lambda root: git)
    done = CliRunner().invoke(__main__.app, ["--version"])
    assert done.exit_code == 0
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert done.stdout == f"onepiece {project['version']}, {told}\n"


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_lead_to_nowhere(tmp_path, closed):
    params = write_tiny_params(tmp_path / "params.yaml")
    command = f"'{sys.executable}' -m orchestration materialize raw_data"
    options = f"--params '{params}' --data '{tmp_path / 'data'}'"
    done = run("sh", "-c", f"{command} {options} {closed}", cwd=ROOT)
    assert done.returncode == 0
    assert (tmp_path / "data" / "raw_data" / "lineage.json").exists()


def test_without_a_command_the_help_is_shown():
    done = CliRunner().invoke(__main__.app, [])
    assert "--version" in done.output
    assert "materialize" in done.output


def test_the_doctor_finds_what_is_needed():
    done = onepiece("doctor")
    assert done.returncode == 0, done.stdout
    assert "faiss" in done.stdout
    assert "Everything that is needed is here." in done.stdout


def test_where_nothing_was_submitted_the_list_says_so_and_leaves_nothing(tmp_path):
    done = onepiece("submissions", "--data", tmp_path)
    assert done.returncode == 0
    told = f"no submission was made yet; run `onepiece materialize --data {tmp_path}`"
    assert told in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_submissions_for_programs(tmp_path):
    where = ["--params", str(ROOT / "params.yaml"), "--data", str(tmp_path)]
    none = CliRunner().invoke(__main__.app, ["submissions", "--json", *where])
    assert (none.exit_code, json.loads(none.stdout)) == (0, [])
    written = small_manifest()
    folder = tmp_path / "submission" / written["id"]
    folder.mkdir(parents=True)
    text = json.dumps({**written, "hash": manifest.manifest_hash(written)})
    (folder / "manifest.json").write_text(text)
    done = CliRunner().invoke(__main__.app, ["submissions", "--json", *where])
    (row,) = json.loads(done.stdout)
    assert row["id"] == written["id"]
    assert datetime.fromisoformat(row["created"]) == datetime.fromisoformat(written["created"])
    assert row["hr_10"] == 0.25
    assert row["ndcg_10"] is None


def test_a_lineage_has_one_form():
    done = onepiece("lineage", "--json", "--html")
    assert done.returncode == 2
    assert "give one of --json, --html and --mermaid" in done.stderr


READING = ("report", "lineage", "submissions", "verify", "diff a b", "rebuild", "explain u")
READING += ("costs", "recommend i", "export new", "quotas", "plan --flops 1e15", "rollback", "sync")


@pytest.mark.parametrize("command", READING)
def test_a_data_folder_that_is_not_there_is_not_made_to_be_read(tmp_path, command):
    where = ["--params", str(ROOT / "params.yaml"), "--data", str(tmp_path / "mistyped")]
    refused = CliRunner().invoke(__main__.app, [*command.split(), *where]).exception
    assert isinstance(refused, InputError)
    data = tmp_path / "mistyped"
    assert str(refused) == (
        f"{data}: not found; name the data folder, or run `onepiece materialize --data {data}`"
    )
    assert not (tmp_path / "mistyped").exists()


def test_the_folder_of_the_code_is_no_data_folder():
    done = onepiece("materialize", "--data", ".")
    assert done.returncode == 2
    assert "holds the project's own code" in done.stderr


@pytest.mark.parametrize("inside", ["", "made"])
def test_the_folder_of_the_raw_files_is_no_data_folder(tmp_path, inside):
    source = tmp_path / "raw"
    source.mkdir()
    raw_data = {"format": "recbole", "source": str(source)}
    file = _params(tmp_path, lambda values: values["raw_data"].update(raw_data))
    done = onepiece("materialize", "--params", file, "--data", source / inside)
    assert done.returncode == 2
    assert "holds raw files only; give artefacts a folder outside it" in done.stderr
    assert list(source.iterdir()) == []


@pytest.mark.parametrize("name", ["what?", "run [1]", "a%20b"])
def test_a_folder_whose_name_dagster_would_misread_is_refused(tmp_path, name):
    """Records would land outside it, or telemetry and pools would not be as configured."""
    file = write_tiny_params(tmp_path / "params.yaml")
    done = onepiece("materialize", "raw_data", "--params", file, "--data", tmp_path / name)
    assert done.returncode == 2
    assert "do not take as part of a name; rename that folder" in done.stderr
    assert list(tmp_path.iterdir()) == [file]


def test_other_names_of_a_folder_are_taken(tmp_path):
    data = tmp_path / "a'b\"c;d&e=f g#h 100% *\u00fc"
    file = write_tiny_params(tmp_path / "params.yaml")
    done = onepiece("materialize", "item_statistics", "--params", file, "--data", data)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {data.name, file.name}
    assert not (data / ".dagster" / "logs").exists()  # telemetry's


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = onepiece("ui", "--port", str(port), "--data", tmp_path / "data")
    assert done.returncode == 2
    assert f"onepiece: port {port} of 127.0.0.1: Address already in use; choose" in done.stderr
    assert onepiece("ui", "--port", "99999", "--data", tmp_path / "data").returncode == 2


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "free some space"),
        (OSError(errno.EROFS, "Read-only file system", "/mnt/x"), "/mnt/x: Read-only file system"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: Permission denied; change"),
    ],
)
def test_what_the_machine_forbids_is_one_sentence(error, sentence):
    text, code = told(error)
    assert sentence in text
    assert code == 2


@pytest.mark.parametrize(
    "reason", ["database or disk is full", "attempt to write a readonly database"]
)
def test_a_full_disk_under_dagsters_records_is_one_sentence(monkeypatch, tmp_path, reason):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    within = RuntimeError("as SQLAlchemy puts it")
    within.__cause__ = sqlite3.OperationalError(reason)
    text, code = told(within)
    assert text.startswith(f"{tmp_path}: Dagster's records cannot be written")
    assert "bytes are free" in text
    assert code == 2
    assert told(RuntimeError("a fault of ours")) is None


def test_what_a_bar_shows_is_not_printed_over_it(monkeypatch, capsys):
    logger = logging.getLogger("onepiece")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "level", logging.INFO)

    def work():
        logger.info("step 3 of 10", extra={IN_BAR: True})
        logger.info("validation", extra={IN_BAR: False})
        logger.info("made")

    monkeypatch.setattr(__main__, "app", work)
    __main__.run_command()
    assert [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()] == [
        "validation",
        "made",
    ]


def test_help_says_what_arguments_are():
    assert "A user's raw id." in onepiece("explain", "--help").stdout
