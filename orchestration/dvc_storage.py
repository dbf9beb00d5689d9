"""Files by their hash: what a folder once held, from DVC's cache or its default remote."""

import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from assets.hashing import hash_file
from model.artifact import atomic_folder

logger = logging.getLogger("onepiece")


class DvcStorage:
    """Reads what DVC keeps of a repository; empty where there is no DVC."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def file(self, digest: str) -> Path | None:
        """A cached file, if it is there and still hashes to its name."""
        if self._repository is None:
            return None
        path = Path(self._repository.cache.local.path) / digest[:2] / digest[2:]
        whole = path.is_file() and hash_file(path) == digest.removesuffix(".dir")
        return path if whole else None

    def listing(self, folder_hash: str) -> dict[str, str] | None:
        """md5 by relative path of all files that a folder held; None if that is not cached."""
        file = self.file(folder_hash)
        if file is None:
            return None
        return {entry["relpath"]: entry["md5"] for entry in json.loads(file.read_text())}

    def holds(self, folder_hash: str) -> bool:
        """Whether the cache has a folder completely, every file of it unchanged."""
        files = self.listing(folder_hash)
        return files is not None and all(self.file(digest) for digest in set(files.values()))

    def fetch(self, digests: Iterable[str]) -> None:
        """Pull into the cache what it lacks and the default remote has."""
        lacking = [digest for digest in set(digests) if self.file(digest) is None]
        remote = self._remote
        if not lacking or remote is None:
            return
        from dvc_data.hashfile.hash_info import HashInfo

        there = remote.oids_exist(lacking)
        if there:
            self._repository.cloud.pull([HashInfo("md5", oid) for oid in there], odb=remote)

    def restore(self, files: Mapping[str, str], folder: Path, *, beside: Path) -> list[str]:
        """Put files in a folder, from another folder where they are unchanged, else from DVC.

        Args:
            files: md5 by relative path.
            folder: is written atomically.
            beside: the other folder, which is tried first.

        Returns:
            Relative paths of the files found nowhere; the folder is then left alone.
        """
        sources = {path: beside / path for path in files if _hashes_to(beside / path, files[path])}
        self.fetch(files[path] for path in files.keys() - sources.keys())
        for path in files.keys() - sources.keys():
            cached = self.file(files[path])
            if cached is not None:
                sources[path] = cached
        lost = sorted(files.keys() - sources.keys())
        if lost:
            return lost
        with atomic_folder(folder) as out:
            for path, source in sources.items():
                (out / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, out / path)
        return []

    @cached_property
    def _repository(self) -> Any:
        if not (self._root / ".dvc").is_dir():
            return None
        from dvc.repo import Repo  # half a second: only where something is looked for

        return Repo(str(self._root))

    @cached_property
    def _remote(self) -> Any:
        if self._repository is None:
            return None
        from dvc.exceptions import DvcException

        try:
            return self._repository.cloud.get_remote_odb(command="fetch")
        except DvcException as error:
            logger.info("no DVC remote to search: %s", error)
            return None


def _hashes_to(path: Path, digest: str) -> bool:
    return path.is_file() and hash_file(path) == digest
