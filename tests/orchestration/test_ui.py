"""`onepiece ui`: one command, loopback only, links that work, and nothing left when it ends."""

import os
import shutil
import signal
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from orchestration.workspace import ROOT
from tests.orchestration.opened_ui import OpenedUI, wait_until
from tests.orchestration.test_network_off import CUT_OFF
from tests.orchestration.tiny_world import write_tiny_params


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("ui") / "log"


@pytest.fixture(scope="module")
def opened(finished, log):
    """The user interface of a finished world, in processes that may reach this machine alone."""
    (log.parent / "sitecustomize.py").write_text(CUT_OFF)
    shutil.copy(finished.params_file, log.with_name("params.yaml"))
    where = ("--params", log.with_name("params.yaml"), "--data", finished.data)
    search_path = os.pathsep.join([str(log.parent), str(ROOT)])
    known = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does with what it puts behind
    try:
        ui = OpenedUI(ROOT, *where, log=log, PYTHONPATH=search_path)
    finally:
        signal.signal(signal.SIGINT, known)
    yield ui
    ui.close()


def _get(address):
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read().decode()


def test_it_listens_on_this_machine_alone(opened):
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {row[1] for row in table if row[3] == "0A"}
    ours = {place for place in listening if place.endswith(f":{opened.port:04X}")}
    assert ours == {f"0100007F:{opened.port:04X}"}


def test_a_submissions_page_links_to_its_lineage(opened, finished):
    query = """{ assetOrError(assetKey: {path: ["submission"]}) { ... on Asset {
        assetMaterializations(limit: 1) { metadataEntries {
            label ... on UrlMetadataEntry { url } } } } } }"""
    (event,) = opened.ask(query)["assetOrError"]["assetMaterializations"]
    (link,) = [entry["url"] for entry in event["metadataEntries"] if "url" in entry]
    page = _get(f"{opened.address}{link}")
    assert page == (finished.workspace.current_folder("submission") / "lineage.html").read_text()


def test_the_data_docs_that_a_check_links_to_are_served(opened, finished):
    page = finished.data / ".data_docs" / "vectors_are_valid" / "index.html"
    assert _get(f"{opened.address}/files/{page.relative_to(finished.data)}") == page.read_text()


@pytest.mark.parametrize(
    "path",
    [
        "../params.yaml",
        "%2e%2e/params.yaml",
        "nothing.html",
        ".dagster/dagster.yaml",
        ".hashes.json",
        ".data_docs/%2e%2e/.hashes.json",
        ".data_docs/.data_docs",
    ],
)
def test_only_the_data_folder_is_served_and_nothing_hidden_in_it(opened, finished, path):
    assert (finished.data / ".hashes.json").exists()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        _get(f"{opened.address}/files/{path}")


def test_jobs_schedule_and_sensors_are_there(opened):
    query = """{ repositoriesOrError { ... on RepositoryConnection { nodes {
        jobs { name } schedules { name } sensors { name } } } } }"""
    (node,) = opened.ask(query)["repositoriesOrError"]["nodes"]
    names = {kind: {one["name"] for one in node[kind]} for kind in ("jobs", "schedules", "sensors")}
    assert {"full_retrain", "refresh_submission", "tokenizer_only"} <= names["jobs"]
    assert "scheduled_retrain" in names["schedules"]
    assert {"new_raw_data", "made_elsewhere"} <= names["sensors"]


def test_an_edited_parameter_file_is_taken_up(opened, log):
    def cron():
        nodes = opened.ask(query)["repositoriesOrError"].get("nodes", [])
        return [one["cronSchedule"] for node in nodes for one in node["schedules"]]

    query = """{ repositoriesOrError { ... on RepositoryConnection { nodes {
        schedules { cronSchedule } } } } }"""
    write_tiny_params(log.with_name("params.yaml"), automation={"retrain_cron": "7 7 * * 1"})
    wait_until(lambda: cron() == ["7 7 * * 1"], 90, "the schedule is the edited one")


def test_it_ends_when_told_to_with_all_its_processes_and_called_nobody(opened, log):
    family = [opened.process, *opened.process.children(recursive=True)]
    opened.process.terminate()
    _, left = psutil.wait_procs(family, timeout=60)
    assert left == []
    assert "NETWORK" not in log.read_text()
