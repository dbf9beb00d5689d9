"""A hash of the library's own sources, for results that must not be mixed between versions."""

import hashlib
from pathlib import Path

LIBRARY = Path(__file__).parent


def hash_sources(*parts: str) -> str:
    """One hash over sources of this library: their paths and contents.

    Args:
        parts: files and folders by their paths within the library; none means all of it.
    """
    digest = hashlib.blake2b(digest_size=16)
    for source in _sources(parts):
        content = source.read_bytes()
        digest.update(f"{source.relative_to(LIBRARY).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _sources(parts: tuple[str, ...]) -> list[Path]:
    chosen = [LIBRARY / part for part in parts] or [LIBRARY]
    found = (path.rglob("*.py") if path.is_dir() else [path] for path in chosen)
    return sorted({source for sources in found for source in sources})
