"""`onepiece diff`: what changed between two submissions: data, parameters, code, metrics."""

from collections.abc import Iterator, Mapping
from typing import Any

from assets.manifest_file import Manifest
from assets.staleness import flattened
from model.inference.champion import CHAMPION
from orchestration.report import METRICS, PATHS

_MISSING = "(none)"
# What `onepiece report` shows, and what decides whether two such figures are comparable.
_HEADLINES = {f"{path}.{metric}" for path in PATHS for metric in METRICS}
_HEADLINES |= {"users", "candidates", "masked_actions", "cold_filtered", "validation.score"}


def compare(first: Manifest, second: Manifest, *, all_metrics: bool = False) -> str:
    """Lists of differences between two manifests, as text.

    Args:
        first: a manifest.
        second: another.
        all_metrics: show all metrics, not just the headline ones of `onepiece report`.
    """
    sections = {
        "raw data": _changed(_raw_files(first), _raw_files(second)),
        "parameters": _changed(flattened(first["params"]), flattened(second["params"])),
        "code": [*_code(first, second)],
        "packages and machine": _changed(_circumstances(first), _circumstances(second)),
        "artefacts": _changed(_hashes(first), _hashes(second)),
        "metrics": _changed_metrics(first, second, all_metrics=all_metrics),
    }
    lines = [f"{first['id']} -> {second['id']}"]
    for title, changes in sections.items():
        lines.append(f"{title}: {'unchanged' if not changes else ''}".rstrip())
        lines += [f"  {change}" for change in changes]
    return "\n".join(lines)


def _code(first: Manifest, second: Manifest) -> Iterator[str]:
    revisions = {
        key: {"git revision": one["git"]["revision"]}
        for key, one in (("first", first), ("second", second))
    }
    yield from _changed(revisions["first"], revisions["second"])
    yield from _changed(_code_of(first), _code_of(second))


def _code_of(manifest: Manifest) -> dict[str, str]:
    """Code hashes by artefact; champions share one key, since each has a folder of its own."""
    champion = f"{CHAMPION}/"
    return {
        CHAMPION if name.startswith(champion) else name: entry["code"]
        for name, entry in manifest["artifacts"].items()
    }


def _changed(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    names = sorted(first.keys() | second.keys())
    pairs = ((name, first.get(name, _MISSING), second.get(name, _MISSING)) for name in names)
    return [f"{name}: {_show(old, new)}" for name, old, new in pairs if old != new]


def _changed_metrics(first: Manifest, second: Manifest, *, all_metrics: bool) -> list[str]:
    """Changed metrics, after changes in what they were measured with and on."""
    figures = [flattened(one["metrics"]) for one in (first, second)]
    shown = figures
    if not all_metrics:
        shown = [{name: one[name] for name in _HEADLINES & one.keys()} for one in figures]
    measured = [
        flattened({name: one.get(name, {}) for name in ("measured_with", "measured_on")})
        for one in (first, second)
    ]
    lines = [*_changed(measured[0], measured[1]), *_changed(shown[0], shown[1])]
    others = len(_changed(figures[0], figures[1])) - len(_changed(shown[0], shown[1]))
    return [*lines, f"{others} others, which --all-metrics shows"] if others else lines


def _show(old: Any, new: Any) -> str:
    if isinstance(old, float) and isinstance(new, float):
        return f"{old:.6g} -> {new:.6g} ({new - old:+.6g})"
    return f"{old} -> {new}"


def _hashes(manifest: Manifest) -> dict[str, str]:
    return {name: entry["hash"] for name, entry in manifest["artifacts"].items()}


def _raw_files(manifest: Manifest) -> dict[str, Any]:
    raw = manifest["raw_files"]
    files = {entry["path"]: entry["md5"] for entry in raw["files"]}
    return {"format": raw["format"], **files}


def _circumstances(manifest: Manifest) -> dict[str, Any]:
    names = ("python", "platform", "device")
    return {**manifest["packages"], **{name: manifest[name] for name in names}}
