"""A submission's lineage as text, JSON-ready value and Mermaid graph."""

from collections.abc import Mapping
from textwrap import shorten
from typing import Any

from assets.manifest_file import Manifest

SHORT = 8
_VALUE = 60  # characters of a parameter's value: lists can be long
_REFERENCE = "cascade"  # the path that makes submissions
_AT_TEN, _SCORE = "@10", "score"  # what the text shows; the page has them all


def as_text(manifest: Manifest) -> str:
    """Everything upstream, one line each, with what it was made from."""
    git = manifest["git"]
    lines = [
        f"submission {manifest['id']}",
        f"  made      {manifest['created']} on {manifest['device']}, {manifest['platform']}",
        f"  code      {code_version(git)}",
        f"  run       {manifest['dagster_run']}",
        f"  seed      {manifest['seed']}",
        "  made from",
    ]
    artifacts = manifest["artifacts"]
    for name in upstream_first(artifacts):
        entry = artifacts[name]
        parents = ", ".join(entry["parents"]) or "nothing else"
        called = f"{name}{generation_of(entry)}"
        lines.append(f"    {entry['hash'][:SHORT]}  {called}  <- {parents}")
    lines.append(f"  metrics{measured_with(manifest)}")
    names, rows = metric_rows(manifest["metrics"])
    for path, *values in rows:
        shown = "  ".join(
            f"{name} {value:.4f}"
            for name, value in zip(names[1:], values, strict=True)
            if name.endswith(_AT_TEN) or name == _SCORE
        )
        lines.append(f"    {path:12} {shown}")
    return "\n".join(lines)


def code_version(git: Mapping[str, Any]) -> str:
    """The git revision of a manifest, and whether there were uncommitted changes."""
    dirty = " (with uncommitted changes)" if git["dirty"] else ""
    return f"{git['revision'] or 'outside git'}{dirty}"


def measured_with(manifest: Mapping[str, Any]) -> str:
    """With which parameters and data the metrics were measured, where not the submission's."""
    others, data = manifest.get("measured_with", {}), manifest.get("measured_on", {})
    shown = [f"cascade.{name} {shorten(str(value), _VALUE)}" for name, value in others.items()]
    parts = [f"with {', '.join(shown)}"] if shown else []
    parts += [f"on other {name} ({digest[:SHORT]})" for name, digest in data.items()]
    return f", measured {', '.join(parts)}" if parts else ""


def metric_rows(metrics: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """The metrics of every path that has all of the cascade's.

    Returns:
        Column names, ``path`` first, and a row per path.
    """
    measured = metrics.get(_REFERENCE, {})
    names = [name for name, value in measured.items() if isinstance(value, float)]
    rows = [
        [path, *(values[name] for name in names)]
        for path, values in metrics.items()
        if isinstance(values, Mapping) and names and all(name in values for name in names)
    ]
    return ["path", *names], rows


def as_mermaid(manifest: Manifest) -> str:
    """A graph that Markdown viewers draw."""
    artifacts = manifest["artifacts"]
    lines = ["graph LR"]
    for name, entry in artifacts.items():
        called = f"{name}{generation_of(entry)}"
        lines.append(f'  {_node(name)}["{called}<br/>{entry["hash"][:SHORT]}"]')
    lines.append(f'  submission["submission<br/>{manifest["id"]}"]')
    for name in artifacts:
        lines += [f"  {_node(parent)} --> {_node(name)}" for parent in parents_of(artifacts, name)]
    last = without_children(artifacts)
    lines += [f"  {_node(name)} --> submission" for name in last]
    return "\n".join(lines)


def generation_of(entry: Mapping[str, Any]) -> str:
    """A codebook's generation, as a suffix to its name; empty where a manifest does not say."""
    if "generation" not in entry:
        return ""
    ids = f", IDs {entry['semantic_ids'][:SHORT]}" if "semantic_ids" in entry else ""
    return f" (generation {entry['generation']}, revision {entry['revision']}{ids})"


def parents_of(artifacts: Mapping[str, Any], name: str) -> list[str]:
    """The keys of an artefact's parents, of which there may be two versions (``path#hash``)."""
    keys = []
    for parent, digest in artifacts[name]["parents"].items():
        other = f"{parent}#{digest[:SHORT]}"
        if other in artifacts:
            keys.append(other)
        elif parent in artifacts:
            keys.append(parent)
    return keys


def upstream_first(artifacts: Mapping[str, Any]) -> list[str]:
    """Names in topological order: every artefact after what it was made from."""
    ordered: list[str] = []

    def add(name: str) -> None:
        if name in ordered:
            return
        for parent in parents_of(artifacts, name):
            add(parent)
        ordered.append(name)

    for name in artifacts:
        add(name)
    return ordered


def without_children(artifacts: Mapping[str, Any]) -> list[str]:
    """Names of the artefacts from which no other among them was made."""
    used = {parent for name in artifacts for parent in parents_of(artifacts, name)}
    return [name for name in artifacts if name not in used]


def _node(name: str) -> str:
    return name.replace("/", "_").replace("#", "_")
