"""How much memory the submission of many users takes, and how fast it is made.

``python -m tests.benchmarks.bench_submission --params params.yaml --data data --users 100000
1000000 --answer 5000`` repeats the users of a finished run as often as it takes, in a scratch
folder, and makes and writes their submission in a process of its own, one size after the other.
Without ``--answer`` the network answers all of them; with it, about that many: the other shards
hold what the finished run recommended to the same users, as if the step had been interrupted.
(A shard and its batches are of one size, however many there are.)

Prints the peak of the memory that the process owns and of all that was mapped (with the pages of
files, which the system may drop at will), and users per second where all were answered.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from model.dataset.features import ArrayColumn, FeatureTable, ScalarColumns
from model.dataset.interactions import Interactions
from model.inference.cascade import Recommendations
from model.inference.inputs import InferenceInputs
from model.inference.report import EvaluationReport
from model.inference.shards import USERS_PER_SHARD, Shards, open_shards
from model.inference.submission import Submission, make_submission
from model.inference.submission_task import submission_task
from model.params import Params

GIB, POLL_SECONDS = 2**30, 0.05


@dataclass(frozen=True)
class Peak:
    """What one process took.

    ``owned`` bytes of its own, ``mapped`` bytes with the pages of files; ``seconds``.
    """

    users: int
    owned: int
    mapped: int
    seconds: float


def repeat_users(interactions: Interactions, num_users: int) -> Interactions:
    """The same users again and again, with ids of their own."""
    copies = -(-num_users // interactions.num_users)
    num_users, num_events = copies * interactions.num_users, interactions.num_events
    shift = np.repeat(np.arange(copies) * num_events, interactions.num_users)

    def moved(events: np.ndarray) -> np.ndarray:
        repeated = np.tile(events, copies)
        return np.where(repeated < 0, -1, repeated + shift)

    return replace(
        interactions,
        offsets=np.append(moved(interactions.offsets[:-1]), copies * num_events),
        item_ids=np.tile(interactions.item_ids, copies),
        action_types=np.tile(interactions.action_types, copies),
        timestamps=np.tile(interactions.timestamps, copies),
        train_end=moved(interactions.train_end),
        validation_event=moved(interactions.validation_event),
        test_event=moved(interactions.test_event),
        target_actions=np.tile(interactions.target_actions, copies),
        users=_repeat_rows(interactions.users, copies),
        raw_user_ids=pa.array(np.arange(num_users)).cast(pa.large_string()),
    )


def _repeat_rows(table: FeatureTable, copies: int) -> FeatureTable:
    """All rows but the padding again and again."""
    arrays = {}
    for name, column in table.arrays.items():
        lengths = np.append(0, np.tile(np.diff(column.offsets)[1:], copies))
        values = np.tile(column.values[column.offsets[1] :], copies)
        arrays[name] = ArrayColumn(np.append(0, np.cumsum(lengths)), values)
    codes = table.scalars.matrix
    repeated = np.tile(codes[1:], (copies, 1))
    return replace(
        table,
        num_rows=(table.num_rows - 1) * copies + 1,
        scalars=ScalarColumns(list(table.scalars), np.concatenate([codes[:1], repeated])),
        arrays=arrays,
    )


def submit(params: Params, data: Path, scratch: Path, answer: int | None) -> None:
    """Make and write the submission of the users in the scratch folder."""
    stored = InferenceInputs.load(data, data, params.modality_embeddings.modalities)
    inputs = replace(stored, interactions=Interactions.load(scratch / "interactions"))
    beam_weight = EvaluationReport.load(data / "evaluation_report").beam_weight
    if answer is not None:
        task = submission_task(inputs, params.cascade, beam_weight)
        shards = open_shards(scratch / "shards", task, inputs.interactions.num_users)
        fill_from(shards, data / "submission", shards.count - -(-answer // USERS_PER_SHARD))
    made = make_submission(
        inputs,
        params.cascade,
        torch.device("cpu"),
        beam_weight=beam_weight,
        shard_folder=scratch / "shards",
    )
    made.save(scratch / "submission")


def fill_from(shards: Shards, submissions: Path, count: int) -> None:
    """Finish the first ``count`` shards with the newest submission's answers to the same users."""
    newest = submissions / (submissions / "latest").read_text().strip()
    submission = Submission.load(newest)
    known, search = submission.recommendations, submission.summary["search"]
    for shard in range(count):
        users = shards.users(shard)
        same = users % len(known.user_indices)
        columns = {f.name: getattr(known, f.name)[same] for f in fields(Recommendations)}
        shards.save(shard, Recommendations(**columns | {"user_indices": users}), search)


def watch(command: list[str], users: int) -> Peak:
    """Run a process and note the most memory that it took."""
    started, owned, mapped = time.perf_counter(), 0, 0
    process = subprocess.Popen(command)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        facts = dict(line.split(":", 1) for line in status.read_text().splitlines())
        owned = max(owned, _bytes(facts.get("RssAnon", "0 kB")))
        mapped = max(mapped, _bytes(facts.get("VmHWM", "0 kB")))
        time.sleep(POLL_SECONDS)
    if process.returncode:
        raise SystemExit(process.returncode)
    return Peak(users, owned, mapped, time.perf_counter() - started)


def _bytes(text: str) -> int:
    return 1024 * int(text.split()[0])


def measure(given: argparse.Namespace, num_users: int) -> Peak:
    """Lay out that many users, and watch their submission being made."""
    base = Interactions.load(given.data / "interactions")
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        command = [sys.executable, "-m", "tests.benchmarks.bench_submission"]
        command += ["--params", str(given.params), "--data", str(given.data)]
        repeated = repeat_users(base, num_users)
        repeated.save(Path(scratch) / "interactions")
        if given.answer is not None:
            command += ["--answer", str(given.answer)]
        num_users = repeated.num_users
        del repeated
        return watch([*command, "--work-in", scratch], num_users)


def main() -> None:
    """Measure every size and carry the line on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--users", type=int, nargs="+", default=[20_000, 60_000])
    parser.add_argument("--answer", type=int, help="users that the network answers; else all")
    parser.add_argument("--scratch", type=Path, help="folder of the scratch folder")
    parser.add_argument("--work-in", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work_in:
        submit(Params.load(given.params), given.data, given.work_in, given.answer)
        return
    peaks = [measure(given, num_users) for num_users in given.users]
    for peak in peaks:
        print(f"{peak.users:>9,} users: {peak.owned / GIB:.2f} GiB owned, ", end="")
        print(f"{peak.mapped / GIB:.2f} GiB with mapped files, {peak.seconds:.0f} s", end="")
        print("" if given.answer is not None else f", {peak.users / peak.seconds:.0f} users/s")
    first, last = peaks[0], peaks[-1]
    if last.users > first.users:
        slope = (last.owned - first.owned) / (last.users - first.users)
        print(f"{slope:,.0f} bytes owned for each user more")


if __name__ == "__main__":
    main()
