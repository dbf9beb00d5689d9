"""The raw files of one delivery: paths, sizes and hashes."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from model.artifact import atomic_folder, read_json, write_json
from model.dataset.raw_files import readable, refuse_loops, require_utf8, unreadable
from model.dataset.synthesizer import write_synthetic_world
from model.errors import InputError
from model.params import RawDataParams
from model.progress import track

SYNTHETIC = "synthetic"
_WORLD = "world"  # folder of a synthetic world's files inside the artefact
_CHUNK = 1 << 22


@dataclass(frozen=True)
class RawFile:
    """One file: path relative to the root (with ``/``), bytes, MD5 in hex."""

    path: str
    size: int
    md5: str


@dataclass(frozen=True)
class RawData:
    """All files of a delivery.

    Attributes:
        format: ``synthetic``, ``tencent_parquet``, ``tencent_jsonl`` or ``recbole``.
        root: the folder that holds them, as it was given.
        files: sorted by path.
    """

    format: str
    root: Path
    files: tuple[RawFile, ...]

    def save(self, folder: Path) -> None:
        """Write the description; the files stay where they are."""
        with atomic_folder(folder) as out:
            self._write(out)

    def _write(self, out: Path) -> None:
        facts = {
            "format": self.format,
            "source": _WORLD if self.format == SYNTHETIC else str(self.root),
            "files": [asdict(file) for file in self.files],
        }
        write_json(out / "raw_data.json", facts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open a description; a synthetic world is in the same folder."""
        facts = read_json(Path(folder) / "raw_data.json")
        source = Path(facts["source"])
        root = Path(folder) / source if facts["format"] == SYNTHETIC else source
        files = tuple(RawFile(**file) for file in facts["files"])
        return cls(format=facts["format"], root=root, files=files)

    def require_unchanged(self) -> None:
        """Check by their sizes that the files are still those that were hashed.

        Raises:
            InputError: one is gone or has another size.
        """
        for file in self.files:
            path = self.root / file.path
            if not path.is_file():
                raise InputError(
                    f"{path}: gone since raw_data was materialised; put it back, or materialise "
                    "raw_data again"
                )
            if path.stat().st_size != file.size:
                raise InputError(
                    f"{path}: changed since raw_data was materialised ({path.stat().st_size:,} "
                    f"bytes, were {file.size:,}); materialise raw_data again"
                )


def make_raw_data(params: RawDataParams, seed: int, folder: Path) -> RawData:
    """Describe the delivery in ``folder``; write a synthetic world there first.

    Raises:
        InputError: the source is missing or empty.
    """
    if params.format != SYNTHETIC:
        raw = describe_raw_data(params)
        raw.save(folder)
        return raw
    with atomic_folder(folder) as out:
        (out / _WORLD).mkdir()
        write_synthetic_world(params.synthetic_world, seed, out / _WORLD)
        files = _hash_files(out / _WORLD)
        RawData(SYNTHETIC, out / _WORLD, files)._write(out)
    return RawData.load(folder)


def describe_raw_data(params: RawDataParams) -> RawData:
    """Hash every file below ``params.source``; names that begin with a dot are skipped.

    Raises:
        InputError: the folder is missing, not a folder, or holds no files, or something in it
            cannot be read, has a name that is not UTF-8 or links to a folder that it lies in.
    """
    root = Path(params.source)
    with readable(root):
        found = root.is_dir()
    if not found:
        raise InputError(
            f"{root}: no such folder; set raw_data.source in the parameter file to the folder of "
            f"the {params.format} files"
        )
    return RawData(format=params.format, root=root, files=_hash_files(root))


def _hash_files(root: Path) -> tuple[RawFile, ...]:
    paths = sorted(_visible_files(root))
    if not paths:
        raise InputError(f"{root}: the folder is empty; put the raw files there")
    for path in paths:
        require_utf8(path)
    sizes = [_size(path) for path in paths]
    chunks = sum(-(-size // _CHUNK) for size in sizes)
    digests = [hashlib.md5(usedforsecurity=False) for _ in paths]
    for index, chunk in track(_chunks(paths), total=chunks, what="hashing raw files", unit="chunk"):
        digests[index].update(chunk)
    return tuple(
        RawFile(path.relative_to(root).as_posix(), size, digest.hexdigest())
        for path, size, digest in zip(paths, sizes, digests, strict=True)
    )


def _size(path: Path) -> int:
    with readable(path):
        if not path.is_file():
            raise InputError(f"{path}: a link to nothing, or no file; put the file there")
        return path.stat().st_size


def _visible_files(root: Path) -> Iterator[Path]:
    """All visible files, following links to folders, as download caches often have them."""

    def refuse(error: OSError) -> None:
        raise unreadable(Path(error.filename), error)

    for parent, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        refuse_loops(root, Path(parent), folders)
        yield from (Path(parent) / name for name in names if not name.startswith("."))


def _chunks(paths: list[Path]) -> Iterator[tuple[int, bytes]]:
    for index, path in enumerate(paths):
        with readable(path), path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield index, chunk
