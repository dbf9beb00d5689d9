"""What every asset works with: parameters, places of artefacts, recipes, locks, the recorder."""

import fcntl
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from assets.frozen_codebook import FROZEN, hash_frozen_codebook
from assets.hashing import HashCache
from assets.lineage import Lineage, Recipe, folder_hash
from assets.locks import locked
from assets.raw_source import hash_source
from assets.recorder import NoRecorder, Recorder
from assets.refusals import Refusals
from assets.stages import Stage, load_stages
from model.artifact import named_version
from model.errors import InputError
from model.inference.champion import CHAMPION, champion_folder
from model.params import Params

RAW_DATA, SUBMISSION, CODEBOOK = "raw_data", "submission", "codebook"
VERSIONED = (SUBMISSION, CHAMPION)  # their earlier versions stay beside the newest
SOURCE = "source"  # stands for the raw files among an artefact's parents
LATEST_FILE = "latest"  # names the newest version


def is_artifact(parent: str) -> bool:
    """Whether a parent lies in the data folder, unlike raw files and a frozen codebook."""
    return parent.split("/")[0] not in (SOURCE, FROZEN)


@dataclass(frozen=True)
class Workspace:
    """One parameter file and one data folder.

    Attributes:
        root: the repository, where ``dvc.yaml`` stands.
        params_file: the parameter file.
        params: its values.
        data: the folder of all artefacts.
        force: make everything again, changed or not.
        read_only: for commands that only read: hashes are not cached on disk either.
        recorder: records every new output.
    """

    root: Path
    params_file: Path
    params: Params
    data: Path
    force: bool = False
    read_only: bool = False
    recorder: Recorder = field(default_factory=NoRecorder)

    @property
    def home(self) -> Path:
        """Dagster's home: one for the repository's own data, one inside every other data folder."""
        return (self.root if self.is_own_data else self.data) / ".dagster"

    @property
    def is_own_data(self) -> bool:
        """Whether the data folder is the repository's own."""
        return self.data.resolve() == (self.root / "data").resolve()

    def folder(self, asset: str, partition: str | None = None) -> Path:
        """The folder of an artefact."""
        return self.data / asset if partition is None else self.data / asset / partition

    def current_folder(self, asset: str, partition: str | None = None) -> Path:
        """The folder of an artefact's newest version.

        Raises:
            InputError: an asset whose versions are kept has none yet.
        """
        if asset in VERSIONED:
            return named_version(self.folder(asset), LATEST_FILE)
        return self.folder(asset, partition)

    def input_folder(self, asset: str, partition: str | None = None) -> Path:
        """The folder that other assets read: of all judged models, the champion's.

        Raises:
            InputError: an asset whose versions are kept has none yet.
        """
        if asset == CHAMPION:
            return champion_folder(self.data)
        return self.current_folder(asset, partition)

    def staging(self, asset: str, partition: str | None = None) -> Path:
        """The folder in which an artefact is made before it is published."""
        return self.data / ".staging" / (asset if partition is None else f"{asset}@{partition}")

    def version(self, asset: str, partition: str | None = None) -> str:
        """The hash that DVC records for the asset's folder."""
        folder = self.folder(asset, partition)
        return self.hashes.hash_path(folder) if asset in VERSIONED else folder_hash(folder)

    def partitions(self, stage: Stage) -> list[str | None]:
        """The partitions of an asset; a single None where it has none."""
        return [*stage.partitions(self.values)] if stage.partitioned else [None]

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """All stages, upstream first."""
        return load_stages(self.root)

    @cached_property
    def main_line(self) -> list[str]:
        """A submission and all that it is made from, upstream first; others are made on request."""
        found = {SUBMISSION}
        for stage in reversed(self.stages.values()):
            if stage.name in found:
                found.update(stage.inputs)
        return [name for name in self.stages if name in found]

    @cached_property
    def values(self) -> dict[str, Any]:
        """The parameters as plain values."""
        return self.params.model_dump(mode="json")

    @cached_property
    def hashes(self) -> HashCache:
        """Cached md5s of files that have not changed since they were last read."""
        return HashCache(self.data / ".hashes.json", remember=not self.read_only)

    @property
    def refusals(self) -> Refusals:
        """The artefacts of this data folder that blocking checks refused."""
        return Refusals(self.data / ".refused")

    def refusal(self, asset: str, partition: str | None = None) -> str | None:
        """Why a blocking check refused the artefact in the asset's folder; None if none did."""
        try:
            lineage = Lineage.read(self.current_folder(asset, partition))
        except InputError:  # missing or damaged
            return None
        return self.refusals.reason(self.stages[asset].target(partition), lineage)

    def recipe(self, asset: str, partition: str | None = None) -> Recipe:
        """What the asset would be made from if it were made now.

        Raises:
            InputError: something upstream is missing or was refused.
        """
        stage = self.stages[asset]
        return Recipe(
            asset=asset,
            partition=partition,
            parents=self._parents(stage),
            params=stage.parameters(self.values),
            code=stage.code_hash(self.root),
            seed=self.params.seed,
        )

    def _parents(self, stage: Stage) -> dict[str, str]:
        parents = {}
        for name in stage.inputs:
            for partition in self.partitions(self.stages[name]):
                reason = self.refusal(name, partition)
                if reason is not None:
                    raise InputError(f"{name}: a blocking check failed: {reason}")
                folder = self.input_folder(name, partition)
                parents[folder.relative_to(self.data).as_posix()] = folder_hash(folder)
        if not stage.inputs and self.params.raw_data.format != "synthetic":
            parents[SOURCE] = self.source_hash()
        if CODEBOOK in stage.sections and self.params.codebook.frozen_from is not None:
            parents |= self.frozen_codebook_hash()
        return parents

    def require_decoder(self) -> None:
        """Refuse parameters of a recommender that could not propose semantic IDs.

        Raises:
            InputError: no loss trains its decoder.
        """
        if not self.params.recommender_checkpoint.loss.sid_weights:
            raise InputError(
                "recommender_checkpoint.loss.sid_weights is [], which trains no semantic ID "
                "decoder; give one weight per codebook level"
            )

    def source_hash(self) -> str:
        """The hash of the raw files.

        Raises:
            InputError: they are not there, or cannot be read.
        """
        return hash_source(
            Path(self.params.raw_data.source),
            self.hashes,
            named_in=self.params_file,
            read_by_dvc=self.is_own_data,
        )

    def frozen_codebook_hash(self) -> dict[str, str]:
        """The hash of ``codebook.frozen_from``, keyed by its generation and revision.

        Raises:
            InputError: it holds no published codebook, would be replaced, or cannot be read.
        """
        frozen = self.params.codebook.frozen_from
        assert frozen is not None, "asked only where one is named"
        return hash_frozen_codebook(
            Path(frozen),
            self.hashes,
            named_in=self.params_file,
            replaced=self.folder(CODEBOOK),
        )

    @contextmanager
    def exclusive(self, asset: str, partition: str | None = None) -> Iterator[None]:
        """Lock an artefact for writing and what it is made from for reading.

        A process that wants to make it too, or to replace what it is made from, waits. Locks are
        taken from downstream to upstream, so that no deadlock is possible; the recorder's come
        first, because inside ``dvc repro`` they are held before we begin.

        Raises:
            InputError: another process has held one of them for a day.
        """
        target = self.stages[asset].target(partition)
        with (
            self.recorder.exclusive(target),
            self.locked(target, fcntl.LOCK_EX),
            self.reading(asset),
        ):
            yield

    @contextmanager
    def reading(self, asset: str) -> Iterator[None]:
        """Lock what an asset is made from for reading: a process that wants to replace it waits.

        Raises:
            InputError: another process has held one of them for a day.
        """
        with ExitStack() as held:
            for name in reversed(self.stages[asset].inputs):
                for key in self.partitions(self.stages[name]):
                    target = self.stages[name].target(key)
                    held.enter_context(self.locked(target, fcntl.LOCK_SH))
            yield

    def device(self, pool: str | None, *, shared: bool = False) -> AbstractContextManager[None]:
        """Lock the machine's device, however the run was started; no lock where none is needed.

        Dagster's own pool orders only the runs that Dagster starts. This lock is taken last of all,
        so that no holder waits for anything else.

        Args:
            pool: the device's concurrency pool; None where no device is needed.
            shared: whether others may share it at the same time.
        """
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        return nullcontext() if pool is None else self.locked(pool, mode)

    def locked(self, target: str, mode: int) -> AbstractContextManager[None]:
        """Take one lock of the data folder; see :func:`assets.locks.locked`."""
        return locked(self.data / ".locks" / target, mode)
