"""What every asset shows in the user interface: size, rows, time, memory, plots."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from assets.lineage import Lineage

FILES_ADDRESS = "/files"  # where `onepiece ui` serves the data folder
_MAX_PICTURES = 16  # of a coverage report: one per modality, and what they cover together
_MAX_PICTURE_BYTES = 400_000


def measured(
    folder: Path, data: Path, *, seconds: float, memory: int, reused: bool
) -> dict[str, Any]:
    """Metadata that every artefact has.

    Args:
        folder: of the artefact.
        data: the data folder that contains it.
        seconds: that it took.
        memory: peak bytes of this process while it was made.
        reused: whether it was found unchanged.
    """
    lineage = Lineage.read(folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    facts: dict[str, Any] = {
        "path": dg.MetadataValue.path(str(folder)),
        "bytes": sum(path.stat().st_size for path in files),
        "files": len(files),
        "reused": reused,
        "seconds": round(seconds, 2),
        "peak_memory_mib": round(memory / 2**20, 1),
        "content_hash": lineage.content,
        "code_hash": lineage.recipe.code,
        "parameters": dg.MetadataValue.json(lineage.recipe.params),
        "parents": dg.MetadataValue.md(
            table(
                [{"made from": name, "hash": md5} for name, md5 in lineage.recipe.parents.items()]
            )
        ),
    }
    return facts | pages(folder, data) | pictures(folder)


def pages(folder: Path, data: Path) -> dict[str, dg.UrlMetadataValue]:
    """A link to every page that an artefact holds."""
    return {
        f"{page.stem} page": dg.MetadataValue.url(page_address(page, data))
        for page in sorted(folder.rglob("*.html"))
    }


def page_address(page: Path, data: Path) -> str:
    """Where `onepiece ui` serves a page of the data folder, whatever its port."""
    return f"{FILES_ADDRESS}/{page.relative_to(data).as_posix()}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal keys as a Markdown table."""
    if not rows:
        return "(none)"
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(_cell(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def pictures(folder: Path) -> dict[str, dg.MarkdownMetadataValue]:
    """The plots that an artefact holds, unless they are too many or too large for a page.

    Each is named a plot, so that it does not collide with a table of the same name.
    """
    found = [
        path
        for path in sorted(folder.rglob("*.png"))[:_MAX_PICTURES]
        if path.stat().st_size <= _MAX_PICTURE_BYTES
    ]
    return {f"{path.stem} plot": picture(path) for path in found}


def picture(path: Path) -> dg.MarkdownMetadataValue:
    """A plot embedded in the page itself."""
    content = base64.b64encode(path.read_bytes()).decode()
    return dg.MetadataValue.md(f"![{path.stem}](data:image/png;base64,{content})")


def decimal(value: float) -> str:
    """Four decimals, or three significant digits where those would all be zero."""
    shown = f"{value:.4f}"
    return shown if float(shown) or not value else f"{value:.2e}"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    shown = decimal(value) if isinstance(value, float) else str(value)
    return shown.replace("|", "\\|")  # a bare one would start another column
