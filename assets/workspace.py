"""What an asset may ask for: the parameters, where artefacts lie, and who else must be told."""

import fcntl
import logging
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from assets.hashing import HashCache, linked_folder
from assets.lineage import LINEAGE_FILE, Lineage, Recipe, folder_hash
from assets.locks import locked
from assets.recorder import NoRecorder, Recorder
from assets.stages import Stage, load_stages
from model.artifact import atomic_write, named_version, read_json
from model.errors import InputError
from model.inference.champion import CHAMPION, champion_folder
from model.params import Params

logger = logging.getLogger("onepiece")

RAW_DATA, SUBMISSION, CODEBOOK = "raw_data", "submission", "codebook"
VERSIONED = (SUBMISSION, CHAMPION)  # their earlier versions stay beside the newest
SOURCE = "source"  # stands for the raw files among an artefact's parents
FROZEN = "frozen_codebook"  # begins what stands there for ``codebook.frozen_from``
LATEST_FILE = "latest"  # names the newest version
NOT_JUDGED = "the run that made it ended before the check; materialise it again"


def is_artifact(parent: str) -> bool:
    """Whether a parent lies in the data folder, as raw files and a frozen codebook do not."""
    return parent.split("/")[0] not in (SOURCE, FROZEN)


@dataclass(frozen=True)
class Workspace:
    """One parameter file and one data folder.

    Attributes:
        root: the repository, where ``dvc.yaml`` stands.
        params_file: what was loaded.
        params: its values.
        data: the folder of all artefacts.
        force: make everything anew, changed or not.
        read_only: only look: not even remember what was hashed.
        recorder: told of every new output.
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
        """Where an artefact lies."""
        return self.data / asset if partition is None else self.data / asset / partition

    def current_folder(self, asset: str, partition: str | None = None) -> Path:
        """Where the newest version of an artefact lies.

        Raises:
            InputError: there is none yet, of an asset whose versions are kept.
        """
        if asset in VERSIONED:
            return named_version(self.folder(asset), LATEST_FILE)
        return self.folder(asset, partition)

    def input_folder(self, asset: str, partition: str | None = None) -> Path:
        """Where others read an artefact: of all judged models, the champion.

        Raises:
            InputError: there is none yet, of an asset whose versions are kept.
        """
        if asset == CHAMPION:
            return champion_folder(self.data)
        return self.current_folder(asset, partition)

    def staging(self, asset: str, partition: str | None = None) -> Path:
        """Where an artefact is made before it takes its place."""
        return self.data / ".staging" / (asset if partition is None else f"{asset}@{partition}")

    def version(self, asset: str, partition: str | None = None) -> str:
        """The hash that DVC records for the asset's folder."""
        folder = self.folder(asset, partition)
        return self.hashes.hash_path(folder) if asset in VERSIONED else folder_hash(folder)

    def partitions(self, stage: Stage) -> list[str | None]:
        """The partitions of an asset; a single None where it has none."""
        return [*stage.partitions(self.values)] if stage.partitioned else [None]

    def set_aside_unnamed(self, stage: Stage) -> None:
        """Move partitions that the parameters no longer name out of their asset's folder.

        DVC sees what reads them all depend on that folder: with one too many in it everything below
        looks changed wherever only those that are named have been fetched. One that the parameter
        file names by now stays: a run that began later has made it.
        """
        if not self.recorder.counts_folders:
            return
        try:
            now = Params.load(self.params_file)
        except InputError:  # being edited: who knows what it will name
            return
        named = {*self.partitions(stage), *stage.partitions(now.model_dump(mode="json"))}
        for file in self.folder(stage.name).glob(f"*/{LINEAGE_FILE}"):
            name = file.parent.name
            if name in named:
                continue
            with self._locked(stage.target(name), fcntl.LOCK_EX):
                if file.exists():  # another process may have done it
                    aside = self._aside(stage.name, name)
                    shutil.rmtree(aside, ignore_errors=True)
                    aside.parent.mkdir(exist_ok=True)
                    file.parent.rename(aside)
                    logger.info("%s: no longer named, kept in %s", stage.target(name), aside)

    def bring_back_named(self, stage: Stage) -> None:
        """Put back what a run that does not name it has set aside since this one looked."""
        for name in stage.partitions(self.values):
            if self.is_aside(stage.name, name):  # no lock for nothing: readers may hold it for long
                with self._locked(stage.target(name), fcntl.LOCK_EX):
                    self.bring_back(stage.name, name)

    def bring_back(self, asset: str, partition: str) -> None:
        """Put a partition that is named again where it lay; whether it holds is asked after."""
        if self.is_aside(asset, partition):
            folder = self.folder(asset, partition)
            folder.parent.mkdir(exist_ok=True)
            self._aside(asset, partition).rename(folder)

    def is_aside(self, asset: str, partition: str) -> bool:
        """Whether a partition has been set aside and nothing stands in its place."""
        return self._aside(asset, partition).exists() and not self.folder(asset, partition).exists()

    def _aside(self, asset: str, partition: str) -> Path:
        return self.data / ".aside" / f"{asset}@{partition}"

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """All stages, upstream first."""
        return load_stages(self.root)

    @cached_property
    def main_line(self) -> list[str]:
        """A submission and all that it is made from, upstream first; the rest must be asked for."""
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
        """md5s of files that have not changed since they were last read."""
        return HashCache(self.data / ".hashes.json", remember=not self.read_only)

    def refusal(self, asset: str, partition: str | None = None) -> str | None:
        """Why a blocking check refused what now lies in the asset's folder; None when it passed.

        What DVC has put there since is another artefact, one that had passed.
        """
        try:
            lineage = Lineage.read(self.current_folder(asset, partition))
        except InputError:  # nothing whole lies there
            return None
        file = self._refusal_file(asset, partition, lineage)
        return file.read_text() if file.exists() else None

    def note_refusal(self, asset: str, partition: str | None, reason: str | None) -> None:
        """Remember, or forget, that a blocking check failed: nothing may be built on it."""
        lineage = Lineage.read(self.current_folder(asset, partition))
        file = self._refusal_file(asset, partition, lineage)
        if reason is None:
            file.unlink(missing_ok=True)
        else:
            atomic_write(file, reason)

    def await_judgement(self, asset: str, partition: str | None, lineage: Lineage) -> None:
        """Refuse what is about to appear until it is judged, though its maker dies before."""
        atomic_write(self._refusal_file(asset, partition, lineage), NOT_JUDGED)

    def _refusal_file(self, asset: str, partition: str | None, lineage: Lineage) -> Path:
        return self.data / ".refused" / f"{self.stages[asset].target(partition)}.{lineage.hash}"

    def recipe(self, asset: str, partition: str | None = None) -> Recipe:
        """What the asset would be made from, were it made now.

        Raises:
            InputError: something upstream is not there.
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
            parents[SOURCE] = self._source_hash()
        if CODEBOOK in stage.sections and self.params.codebook.frozen_from is not None:
            parents |= self.frozen_codebook()
        return parents

    def require_recorded_source(self, asset: str) -> None:
        """Refuse what has been read from other raw files than those that stand in its lineage.

        Raises:
            InputError: they have changed since ``raw_data`` was made, though only in their content.
        """
        if RAW_DATA not in self.stages[asset].inputs or self.params.raw_data.format == "synthetic":
            return
        recorded = Lineage.read(self.folder(RAW_DATA)).recipe.parents.get(SOURCE)
        if self._source_hash() != recorded:
            raise InputError(
                f"{self.params.raw_data.source}: changed since raw_data was materialised; "
                "materialise raw_data again"
            )

    def require_decoder(self) -> None:
        """Refuse parameters of a recommender that could not propose anything.

        Raises:
            InputError: no loss trains its semantic ID decoder.
        """
        if not self.params.recommender_checkpoint.loss.sid_weights:
            raise InputError(
                "recommender_checkpoint.loss.sid_weights is [], which trains no semantic ID "
                "decoder; give one weight per codebook level"
            )

    def _source_hash(self) -> str:
        source = Path(self.params.raw_data.source)
        if not source.exists():
            raise InputError(
                f"{source}: raw_data.source of {self.params_file} does not exist; name the folder "
                "of the raw files"
            )
        linked = linked_folder(source) if self.is_own_data else None
        if linked is not None:
            raise InputError(
                f"{linked}: a link to a folder, behind which `dvc repro` does not look; put the "
                "folder itself there, or give the artefacts a folder of their own by --data"
            )
        return self.hashes.hash_visible(source)

    def frozen_codebook(self) -> dict[str, str]:
        """The hash of ``codebook.frozen_from``, by its generation and revision.

        Raises:
            InputError: the folder holds none, or is the one that will be replaced.
        """
        assert self.params.codebook.frozen_from is not None, "asked only where one is named"
        frozen = Path(self.params.codebook.frozen_from)
        if frozen.resolve().is_relative_to(self.folder(CODEBOOK).resolve()):
            raise InputError(
                f"codebook.frozen_from: {frozen} is replaced by what is made of it; copy it out of "
                "the data folder first and name the copy"
            )
        if not (frozen / "codebook.json").exists():
            raise InputError(
                f"codebook.frozen_from: {frozen} of {self.params_file} holds no codebook; name a "
                "copy of a published codebook folder, or null"
            )
        facts = read_json(frozen / "codebook.json")
        if not isinstance(facts, dict) or not {"generation", "revision"} <= facts.keys():
            raise InputError(
                f"{frozen / 'codebook.json'}: names no generation and revision, so it is of no "
                "published codebook; copy the folder again from where it was published"
            )
        name = f"{FROZEN}/{facts['generation']}/revision_{facts['revision']}"
        return {name: self.hashes.hash_path(frozen)}

    @contextmanager
    def exclusive(self, asset: str, partition: str | None = None) -> Iterator[None]:
        """Hold an artefact for writing and what it is made from for reading.

        Whoever wants to make it as well, or to replace what it is made from, waits. Locks are
        taken from downstream to upstream, so that no two processes can wait for each other; the
        recorder's come first, because inside ``dvc repro`` they are held before we begin.

        Raises:
            InputError: another process has held one of them for a day.
        """
        target = self.stages[asset].target(partition)
        with (
            self.recorder.exclusive(target),
            self._locked(target, fcntl.LOCK_EX),
            self.reading(asset),
        ):
            yield

    @contextmanager
    def reading(self, asset: str) -> Iterator[None]:
        """Hold what an asset is made from for reading: whoever wants to replace it waits.

        Raises:
            InputError: another process has held one of them for a day.
        """
        with ExitStack() as held:
            for name in reversed(self.stages[asset].inputs):
                for key in self.partitions(self.stages[name]):
                    target = self.stages[name].target(key)
                    held.enter_context(self._locked(target, fcntl.LOCK_SH))
            yield

    def device(self, pool: str | None, *, shared: bool = False) -> AbstractContextManager[None]:
        """Hold the machine's device, from whichever door one comes; nothing where none is needed.

        Dagster's own pool orders the runs that it starts. This lock is taken last of all, so that
        nobody who has it waits for anything else.

        Args:
            pool: the device's; None for none.
            shared: with others who share it too.
        """
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        return nullcontext() if pool is None else self._locked(pool, mode)

    def _locked(self, target: str, mode: int) -> AbstractContextManager[None]:
        return locked(self.data / ".locks" / target, mode)
