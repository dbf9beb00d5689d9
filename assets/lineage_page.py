"""A submission's lineage as one HTML page that stands alone: graph, hashes, metrics, plots."""

import base64
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assets.lineage_text import SHORT, parents_of, upstream_first, without_children

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 178, 40, 46, 14
_MAX_PICTURE_BYTES = 2_000_000
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; color: #1c2430;
       padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } td, th { padding: .25rem .8rem; text-align: left;
       border-bottom: 1px solid #dde2ea; } td.number { text-align: right;
       font-variant-numeric: tabular-nums; }
code { font-size: .85em; color: #475569; } figure { display: inline-block; margin: .5rem; }
figure img { max-width: 34rem; border: 1px solid #dde2ea; } .graph { overflow-x: auto; }
pre { background: #f6f8fa; padding: 1rem; overflow: auto; max-height: 30rem; }
"""


def as_page(manifest: Mapping[str, Any], data: Path) -> str:
    """The page.

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
        "seed": manifest["seed"],
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
        "<h2>Metrics</h2>",
        _metrics(manifest["metrics"]),
        "<h2>Artefacts</h2>",
        _artifacts(manifest["artifacts"]),
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
    paths = {name: row for name, row in metrics.items() if isinstance(row, Mapping)}
    names = [
        name
        for name in next(iter(paths.values()), {})
        if all(isinstance(row.get(name), int | float) for row in paths.values())
    ]
    rows = [[path, *(row[name] for name in names)] for path, row in paths.items()]
    return _table(["path", *names], rows)


def _artifacts(artifacts: Mapping[str, Any]) -> str:
    rows = [
        [name, artifacts[name]["hash"], ", ".join(artifacts[name]["parents"]) or "-"]
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


def graph_svg(manifest: Mapping[str, Any]) -> str:
    """An SVG with a column per depth and an arrow per parent."""
    artifacts = dict(manifest["artifacts"])
    tips = {name: artifacts[name]["hash"] for name in without_children(artifacts)}
    artifacts["submission"] = {"hash": manifest["id"], "parents": tips}
    places = _places(artifacts)
    shapes = []
    for name in artifacts:
        shapes += [_arrow(places[parent], places[name]) for parent in parents_of(artifacts, name)]
    for name, (x, y) in places.items():
        shapes.append(
            f"<rect x='{x}' y='{y}' width='{_WIDTH}' height='{_HEIGHT}' rx='6' fill='#eef4ff' "
            f"stroke='#3b6fd4'/><text x='{x + 10}' y='{y + 17}' font-size='12'>"
            f"{html.escape(name)}</text><text x='{x + 10}' y='{y + 32}' font-size='11' "
            f"fill='#64748b' font-family='monospace'>{artifacts[name]['hash'][:SHORT]}</text>"
        )
    width = max(x for x, _ in places.values()) + _WIDTH + 4
    height = max(y for _, y in places.values()) + _HEIGHT + 4
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' "
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
        row = filled.get(depth, 0)
        filled[depth] = row + 1
        places[name] = (2 + depth * (_WIDTH + _GAP_X), 2 + row * (_HEIGHT + _GAP_Y))
    return places


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    x2, y2 = end[0], end[1] + _HEIGHT // 2
    bend = max(20, (x2 - x1) // 2)
    return (
        f"<path d='M{x1},{y1} C{x1 + bend},{y1} {x2 - bend},{y2} {x2},{y2}' fill='none' "
        "stroke='#b3bfd1'/>"
    )
