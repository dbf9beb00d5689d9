"""A submission's lineage as one self-contained HTML page: graph, hashes, metrics, plots."""

import base64
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assets.lineage_text import (
    SHORT,
    generation_of,
    measured_with,
    metric_rows,
    parents_of,
    upstream_first,
    without_children,
)
from assets.manifest_file import Manifest

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _STEP = 178, 40, 14, 22, 96
_MAX_RAW_FILES = 200
_MAX_PICTURE_BYTES = 2_000_000
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; color: #1c2430;
       padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } td, th { padding: .25rem .8rem; text-align: left;
       border-bottom: 1px solid #dde2ea; } td.number { text-align: right;
       font-variant-numeric: tabular-nums; }
code { font-size: .85em; color: #475569; } figure { display: inline-block; margin: .5rem; }
figure img { max-width: 34rem; border: 1px solid #dde2ea; }
.graph svg { max-width: 100%; height: auto; }
pre { background: #f6f8fa; padding: 1rem; overflow: auto; max-height: 30rem; }
"""


def as_page(manifest: Manifest, data: Path) -> str:
    """Render the page.

    Args:
        manifest: of the submission.
        data: the data folder, for the artefacts' plots.
    """
    git = manifest["git"]
    facts = {
        "made": manifest["created"],
        "device": f"{manifest['device']}, {manifest['platform']}",
        "git revision": (git["revision"] or "outside git") + (" + changes" if git["dirty"] else ""),
        "Dagster run": manifest["dagster_run"],
        "seed": str(manifest["seed"]),
        "content": manifest["content"],
        "Python": manifest["python"],
    }
    title = f"Submission {manifest['id']}"
    parts = [
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title>",
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>",
        _table(["", ""], [[name, value] for name, value in facts.items()]),
        "<h2>Made from</h2>",
        f"<div class='graph'>{graph_svg(manifest)}</div>",
        f"<h2>Metrics{html.escape(measured_with(manifest))}</h2>",
        _metrics(manifest["metrics"]),
        "<h2>Artefacts</h2>",
        _artifacts(manifest["artifacts"]),
        "<h2>Raw files</h2>",
        _raw_files(manifest["raw_files"]),
        "<h2>Plots</h2>",
        _plots(manifest["artifacts"], data),
        "<h2>Parameters</h2>",
        f"<pre>{html.escape(json.dumps(manifest['params'], indent=2))}</pre>",
        "<h2>Packages</h2>",
        _table(["package", "version"], [list(row) for row in manifest["packages"].items()]),
        "</body></html>",
    ]
    return "\n".join(parts)


def _metrics(metrics: Mapping[str, Any]) -> str:
    """A row per metric and a column per path, which keeps the page narrow."""
    names, rows = metric_rows(metrics)
    columns = list(zip(names, *rows, strict=True))
    return _table(["metric", *columns[0][1:]], [list(column) for column in columns[1:]])


def _raw_files(raw: Mapping[str, Any]) -> str:
    files = raw["files"]
    shown = [[file["path"], file["md5"]] for file in files[:_MAX_RAW_FILES]]
    more = len(files) - len(shown)
    rest = f"<p>And {more:,} more; the manifest names them all.</p>" if more else ""
    heading = f"<p>{len(files):,} files in the format {html.escape(raw['format'])}.</p>"
    return heading + _table(["file", "md5"], shown) + rest


def _artifacts(artifacts: Mapping[str, Any]) -> str:
    rows = [
        [
            f"{name}{generation_of(artifacts[name])}",
            artifacts[name]["hash"],
            ", ".join(artifacts[name]["parents"]) or "-",
        ]
        for name in upstream_first(artifacts)
    ]
    return _table(["artefact", "hash", "made from"], rows)


def _plots(artifacts: Mapping[str, Any], data: Path) -> str:
    figures = []
    for name in upstream_first(artifacts):
        for path in sorted((data / name).glob("**/*.png")):
            if path.stat().st_size > _MAX_PICTURE_BYTES:
                continue
            content = base64.b64encode(path.read_bytes()).decode()
            caption = html.escape(f"{name}: {path.stem}")
            figures.append(
                f"<figure><img alt='{caption}' src='data:image/png;base64,{content}'>"
                f"<figcaption>{caption}</figcaption></figure>"
            )
    return "\n".join(figures) or "<p>None.</p>"


def _table(header: list[str], rows: list[list[Any]]) -> str:
    def cell(value: Any) -> str:
        if isinstance(value, int | float):
            shown = f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
            return f"<td class='number'>{shown}</td>"
        return f"<td>{html.escape(str(value))}</td>"

    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(map(cell, row)) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def graph_svg(manifest: Manifest) -> str:
    """An SVG: stairs with a step per depth, and an arrow per parent."""
    artifacts = dict(manifest["artifacts"])
    tips = {name: artifacts[name]["hash"] for name in without_children(artifacts)}
    artifacts["submission"] = {"hash": manifest["id"], "parents": tips}
    places = _places(artifacts)
    shapes = []
    for name in artifacts:
        parents = parents_of(artifacts, name)
        shapes += [
            _arrow(places[parent], places[name], (place + 1) / (len(parents) + 1))
            for place, parent in enumerate(sorted(parents, key=lambda parent: places[parent]))
        ]
    shapes += [_box(name, artifacts[name], place) for name, place in places.items()]
    width = max(x for x, _ in places.values()) + _WIDTH + 4
    height = max(y for _, y in places.values()) + _HEIGHT + 4
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' "
        f"font-family='system-ui, sans-serif'>{''.join(shapes)}</svg>"
    )


def _places(artifacts: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    depths: dict[str, int] = {}
    for name in upstream_first(artifacts):
        parents = parents_of(artifacts, name)
        depths[name] = 1 + max((depths[parent] for parent in parents), default=-1)
    filled: dict[int, int] = {}
    places = {}
    for name, depth in depths.items():
        column = filled.get(depth, 0)
        filled[depth] = column + 1
        x = depth * _STEP + column * (_WIDTH + _GAP_X)
        places[name] = (2 + x, 2 + depth * (_HEIGHT + _GAP_Y))
    return places


def _box(name: str, entry: Mapping[str, Any], place: tuple[int, int]) -> str:
    """Name and hash; a codebook's generation, which is wider than the box, as a tooltip."""
    x, y = place
    return (
        f"<g><title>{html.escape(name + generation_of(entry))}</title>"
        f"<rect x='{x}' y='{y}' width='{_WIDTH}' height='{_HEIGHT}' rx='6' fill='#eef4ff' "
        f"stroke='#3b6fd4'/><text x='{x + 10}' y='{y + 17}' font-size='12'>"
        f"{html.escape(name)}</text><text x='{x + 10}' y='{y + 32}' font-size='11' "
        f"fill='#64748b' font-family='monospace'>{entry['hash'][:SHORT]}</text></g>"
    )


def _arrow(start: tuple[int, int], end: tuple[int, int], port: float) -> str:
    """Out of the right side of one box, round a corner, into the top of another.

    Args:
        start: upper left corner of the parent.
        end: of the child.
        port: where the arrow enters the child, as a share of its width.
    """
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    x2, y2 = end[0] + int(port * _WIDTH), end[1]
    return f"<path d='M{x1},{y1} Q{x2},{y1} {x2},{y2}' fill='none' stroke='#b3bfd1'/>"
