"""Kill what makes the artefacts, again and again, and see that the same command always finishes.

    python -m tests.chaos --kills 25 --seed 0

Works on a tiny world in a repository of its own. Every round changes a parameter, starts one of
the ways in which a world is made, sends SIGKILL to one process at a random moment, and gives the
same command once more. Then `dvc status` must be clean, `onepiece verify` must pass, and no lock,
pool slot or open run may be left. Exit code 1 and the reason at the first thing that is not so.
"""

import argparse
import fcntl
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil
import yaml

from tests.orchestration.command import ENVIRONMENT, onepiece, run
from tests.orchestration.opened_ui import FINISHED, OpenedUI, wait_until
from tests.orchestration.tiny_repository import DVC, make_tiny_repository

MATERIALIZE = (sys.executable, "-m", "orchestration", "materialize")
COMMANDS = {"dvc repro": (str(DVC), "repro"), "onepiece materialize": MATERIALIZE}
# A word of the command line by which a process below `onepiece ui` is known.
SERVICES = {
    "run worker": "multiprocessing.spawn",
    "web server": "orchestration.web_server",
    "daemon": "dagster._daemon",
    "code server": "dagster api grpc",
}
VICTIMS = (*COMMANDS, *SERVICES)
# What is changed before a kill, and with it where the world has to be made again from.
CHANGES: dict[str, Callable[[int], object]] = {
    "seed": lambda number: 1000 + number,
    "encoder_checkpoint.loss.temperature": lambda number: 0.05 + number / 1000,
    "codebook.iterations": lambda number: 3 + number,
    "recommender_checkpoint.loss.temperature": lambda number: 0.05 + number / 1000,
    "cascade.num_sids": lambda number: 32 + number,
}
LATEST_KILL_SECONDS, FREE_SECONDS = 40.0, 60.0


@dataclass
class Chaos:
    """A repository to be hurt.

    Attributes:
        root: of the repository.
        chance: decides what is changed, who is killed and when.
        ui: once it is needed.
        number: of changes so far.
    """

    root: Path
    chance: random.Random
    ui: OpenedUI | None = None
    number: int = 0

    def round(self, victim: str, change: str, latest: float = LATEST_KILL_SECONDS) -> str:
        """Change, start, kill, finish, check.

        Returns:
            What was done, in a line.

        Raises:
            AssertionError: something was not as it must be.
        """
        kill = self._kill_command if victim in COMMANDS else self._kill_service
        while True:
            self._change(change)
            delay = self.chance.uniform(0.2, latest)
            if kill(victim, delay):
                break
            latest = delay  # it had finished by then
        start = time.monotonic()
        finish = self._finish_command if victim in COMMANDS else self._finish_in_ui
        finish(victim)
        seconds = time.monotonic() - start
        self.check()
        return f"{victim} killed after {delay:4.1f} s ({change}), finished in {seconds:.1f} s"

    def check(self) -> None:
        """Everything is recorded, whole and free."""
        status = run(DVC, "status", cwd=self.root)
        assert "up to date" in status.stdout, status.stdout + status.stderr
        verified = onepiece("verify", cwd=self.root)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        left = [path for path in (self.root / "data").rglob("*") if ".partial-" in path.name]
        assert not left, left
        self._nothing_is_locked()

    def close(self) -> None:
        """End the user interface."""
        if self.ui is not None:
            self.ui.close()

    def _change(self, key: str) -> None:
        self.number += 1
        file = self.root / "params.yaml"
        values = yaml.safe_load(file.read_text())
        *sections, name = key.split(".")
        place = values
        for section in sections:
            place = place[section]
        place[name] = CHANGES[key](self.number)
        file.write_text(yaml.safe_dump(values, sort_keys=False))

    def _kill_command(self, victim: str, delay: float) -> bool:
        """Whether it was still running; its children are left to end by themselves."""
        process = subprocess.Popen(
            COMMANDS[victim],
            cwd=self.root,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
        return process.wait() == -signal.SIGKILL

    def _finish_command(self, victim: str) -> None:
        done = run(*COMMANDS[victim], cwd=self.root)
        assert done.returncode == 0, done.stdout + done.stderr

    def _kill_service(self, victim: str, delay: float) -> bool:
        """Whether the run was still under way and its process, or the service, was there."""
        ui = self._opened()
        launched = ui.launch()
        time.sleep(delay)
        targets = ui.children(SERVICES[victim])
        if ui.status(launched) in FINISHED or (victim == "run worker" and not targets):
            ui.wait(launched)
            return False
        assert targets, f"no process of `onepiece ui` is its {victim}"
        self.chance.choice(targets).kill()
        return True

    def _finish_in_ui(self, victim: str) -> None:
        if victim in ("web server", "daemon"):  # the others are told to end with it
            self._opened().process.wait(60)
        ui = self._opened()
        status = ui.wait(self._launched(ui))
        assert status == "SUCCESS", f"{status}: {self.root / 'ui.log'}"

    def _launched(self, ui: OpenedUI) -> str:
        """A run; a code server that was killed takes some seconds to come back."""
        runs: list[str] = []

        def launches() -> bool:
            try:
                runs.append(ui.launch())
            except (urllib.error.HTTPError, AssertionError):  # no answer, or no such job yet
                return False
            return True

        wait_until(launches, FREE_SECONDS, "the code server is back")
        return runs[0]

    def _opened(self) -> OpenedUI:
        if self.ui is None or not self.ui.process.is_running():
            self.ui = OpenedUI(self.root, log=self.root / "ui.log")
        return self.ui

    def _nothing_is_locked(self) -> None:
        held = self.root / ".dvc" / "tmp" / "rwlock"
        locks = json.loads(held.read_text()) if held.exists() else {}
        holders = [entry["pid"] for one in locks.values() for entry in _entries(one)]
        assert not any(map(psutil.pid_exists, holders)), locks
        wait_until(self._everything_is_free, FREE_SECONDS, "locks, slots and runs are free")

    def _everything_is_free(self) -> bool:
        with dg.DagsterInstance.from_config(str(self.root / ".dagster")) as instance:
            slots = instance.event_log_storage.get_concurrency_info("gpu").claimed_slots
            runs = [run for run in instance.get_runs() if not run.is_finished]
        files = (self.root / "data" / ".locks").iterdir()
        return not slots and not runs and all(map(_is_free, files))


def _entries(lock: dict) -> list[dict]:
    """DVC notes one writer or several readers of a path."""
    return [*lock.get("read", []), *([lock["write"]] if lock.get("write") else [])]


def _is_free(file: Path) -> bool:
    with file.open() as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def main() -> int:
    """Kill as often as asked and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=list(VICTIMS))
    given = parser.parse_args()
    chance = random.Random(given.seed)
    root = make_tiny_repository(Path(tempfile.mkdtemp(prefix="chaos-")))
    print(f"{root}: making a tiny world", flush=True)
    chaos = Chaos(root, chance)
    try:
        chaos._finish_command("dvc repro")
        for number in range(given.kills):
            victim = given.victims[number % len(given.victims)]
            line = chaos.round(victim, chance.choice(list(CHANGES)))
            print(f"{number + 1:3d} {line}", flush=True)
    except (AssertionError, TimeoutError, subprocess.TimeoutExpired) as error:
        print(f"FAILED in {root}: {error}")
        return 1
    finally:
        chaos.close()
    print(f"{given.kills} kills: the same command always finished, all is whole and free")
    return 0


if __name__ == "__main__":
    sys.exit(main())
