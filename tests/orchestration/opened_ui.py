"""`onepiece ui` in processes of its own, driven as its web page drives it: over GraphQL."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.orchestration.command import ENVIRONMENT

START_SECONDS, FINISHED = 240.0, ("SUCCESS", "FAILURE", "CANCELED")
_SELECTOR = {
    "repositoryLocationName": "orchestration.definitions",
    "repositoryName": "__repository__",
}
_LAUNCH = """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
_TERMINATE = """mutation ($run: String!) { terminateRun(runId: $run) {
    __typename ... on TerminateRunFailure { message } } }"""
_RUN = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"
_LOG = """query ($run: ID!) { logsForRun(runId: $run, limit: 1000) {
    ... on EventConnection { events { ... on MessageEvent { message } } } } }"""
_POOL = """query { instance { concurrencyLimit(concurrencyKey: "gpu") {
    claimedSlots { runId } pendingSteps { runId } } } }"""


class OpenedUI:
    """Web server, daemon and code server on one data folder."""

    def __init__(self, root: Path, *where: object, log: Path, **environment: str) -> None:
        self.port = free_port()
        self._log = log
        with log.open("a") as file:
            self.process = psutil.Popen(
                [sys.executable, "-m", "orchestration", "ui", "--port", str(self.port)]
                + [str(part) for part in where],
                cwd=root,
                env={**ENVIRONMENT, **environment},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._is_loaded, START_SECONDS, f"the web server answers; see {log}")

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, query: str, **variables: Any) -> Any:
        """The data that answers a GraphQL query."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.address}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def launch(self, job: str = "full_retrain", assets: tuple[str, ...] = ()) -> str:
        """Start a job, or some assets of it; the run's id."""
        selector: dict[str, Any] = {**_SELECTOR, "jobName": job}
        if assets:
            selector["assetSelection"] = [{"path": [name]} for name in assets]
        answer = self.ask(_LAUNCH, params={"selector": selector, "runConfigData": {}})["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["runId"]

    def terminate(self, run: str) -> None:
        """What the Terminate button does."""
        answer = self.ask(_TERMINATE, run=run)["terminateRun"]
        assert answer["__typename"] == "TerminateRunSuccess", answer

    def status(self, run: str) -> str:
        """Of a run: QUEUED, STARTING, STARTED, SUCCESS, FAILURE, ..."""
        return self.ask(_RUN, run=run)["runOrError"]["status"]

    def wait(self, run: str, seconds: float = 300.0) -> str:
        """The status in which a run ended."""
        wait_until(lambda: self.status(run) in FINISHED, seconds, f"run {run} ends")
        return self.status(run)

    def log(self, run: str) -> list[str]:
        """The lines of a run's page."""
        events = self.ask(_LOG, run=run)["logsForRun"]["events"]
        return [event["message"] for event in events if event.get("message")]

    def pool(self) -> dict[str, list]:
        """Who holds the device's slot and who waits for it."""
        return self.ask(_POOL)["instance"]["concurrencyLimit"]

    def children(self, *words: str) -> list[psutil.Process]:
        """Living processes below this one whose command has all of these words."""
        return [
            child
            for child in self.process.children(recursive=True)
            if all(word in " ".join(_command(child)) for word in words)
        ]

    def close(self) -> None:
        """End it as Ctrl-C does, and whatever is left of it as a power cut does."""
        family = [self.process, *_family(self.process)]
        if self.process.is_running():
            self.process.send_signal(signal.SIGINT)
        _, left = psutil.wait_procs(family, timeout=30)
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=10)

    def _is_loaded(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()[-3000:]
        try:
            answer = self.ask("query { repositoriesOrError { __typename } }")
        except (urllib.error.URLError, OSError):
            return False
        return answer["repositoriesOrError"]["__typename"] == "RepositoryConnection"


def wait_until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Look twice a second.

    Raises:
        TimeoutError: it did not come to hold.
    """
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s until {what}")
        time.sleep(0.5)


def free_port() -> int:
    """One that nobody listens to."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _family(process: psutil.Process) -> list[psutil.Process]:
    return process.children(recursive=True) if process.is_running() else []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it ended in the meantime
        return []
