"""Whether raw files have arrived completely: two checks of a folder.

:func:`judge_delivery`: is something new here, and has it settled? The sensor asks repeatedly, with
the state of its last look. A folder has settled when names, sizes and modification dates have not
changed from look to look, whatever the dates are.

:func:`find_unsettled`: may this be an incomplete delivery? The schedule asks once and keeps no
state, so only a file's age can tell: that of its ctime, since a copy may have kept the modification
date of its original.

Both take a file named as by a copy in progress as not arrived.
"""

import json
import re
from contextlib import suppress
from itertools import filterfalse
from pathlib import Path
from typing import Any

from assets.hashing import HashCache, hash_bytes, is_hidden, list_files

# Names under which rsync, browsers and the like write incomplete files.
_BEING_COPIED = re.compile(r"\..+\.\w{6}|.+\.(tmp|temp|part|partial|filepart|crdownload|download)")
_ABANDONED_SECONDS = 86_400  # a copy that has not grown for so long was killed


def judge_delivery(
    source: Path, seen: dict[str, Any], *, hashes: HashCache, settled_seconds: float, now: float
) -> tuple[str | None, dict[str, Any]]:
    """Decide whether a folder holds something new and complete.

    Args:
        source: the folder of raw files.
        seen: the state that the last look left: ``look``, ``since``, ``content``, ``deliveries``.
        hashes: md5s of files already read.
        settled_seconds: for how long nothing may have changed.
        now: seconds.

    Returns:
        The content's hash if it is new and has settled, else None; and the state for the next look,
        with the reason under ``why``.
    """
    try:
        look = _look(source)
    except FileNotFoundError as error:
        return None, {**seen, "why": f"{error.filename} is a link to nothing, or has just gone"}
    unfinished = _copy_in_progress(source, now)
    if unfinished is not None:
        return None, {**seen, "look": look, "since": now, "why": unfinished}
    if look != seen.get("look"):
        return None, {**seen, "look": look, "since": now, "why": "files are arriving"}
    if now - seen["since"] < settled_seconds:
        return None, {**seen, "why": f"files have been still for less than {settled_seconds} s"}
    if seen.get("looked_into") == look:
        return None, {**seen, "why": "nothing has changed"}
    content = hashes.hash_visible(source)
    left = {**seen, "looked_into": look, "content": content}
    if content == seen.get("content"):
        return None, {**left, "why": "only modification dates changed, not the content"}
    deliveries = seen.get("deliveries", 0) + 1
    return content, {**left, "deliveries": deliveries, "why": "new content"}


def find_unsettled(source: Path, *, settled_seconds: float, now: float) -> str | None:
    """Why a folder's files may not all have arrived, by a single look; None if nothing suggests so.

    A file's age is that of its ctime: a copy may have its original's modification date. Hidden
    files, which nobody reads, count only if they are named as by a copy in progress.

    Args:
        source: the folder of raw files.
        settled_seconds: for how long nothing may have changed.
        now: seconds.
    """
    unfinished = _copy_in_progress(source, now)
    if unfinished is not None:
        return unfinished
    for name in filterfalse(is_hidden, list_files(source)):
        try:
            changed = (source / name).stat().st_ctime
        except FileNotFoundError:
            return f"{name} is a link to nothing, or has just gone"
        if now - changed < settled_seconds:
            return f"{name} has been still for less than {settled_seconds} s"
    return None


def _copy_in_progress(source: Path, now: float) -> str | None:
    for name in filter(_is_being_copied, list_files(source)):
        with suppress(FileNotFoundError):  # it has just got its final name
            if now - (source / name).stat().st_ctime < _ABANDONED_SECONDS:
                return f"{name} is being copied"
    return None


def _look(source: Path) -> str:
    """A hash over names, sizes and dates: cheap, and changing while files are being written."""
    facts = []
    for name in list_files(source):
        state = (source / name).stat()
        facts.append([name, state.st_size, state.st_mtime_ns])
    return hash_bytes(json.dumps(facts).encode())


def _is_being_copied(name: str) -> bool:
    """Whether a file's name is one that a copy in progress gives it."""
    return _BEING_COPIED.fullmatch(name.rsplit("/", 1)[-1]) is not None
