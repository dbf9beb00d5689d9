"""docs/parameters.md: keys and values from the code, descriptions from the page itself.

`python -m tests.parameters_page` regenerates it after a change of model/params/ or params.yaml and
leaves the description of a new key empty; a test fails until somebody has written it.
"""

import json
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import yaml

from model.params import Params, Section

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "parameters.md"
TRAININGS = ("encoder_checkpoint", "recommender_checkpoint")  # the same keys twice
_ROW = re.compile(r"^\| `([^`]+)` \| (.*?) \| (.*?) ?\|$", re.M)
_HEADING = """# What each parameter does

A parameter file must contain every key below and no others: there are no hidden defaults. A file
with a missing or unknown key is rejected with the name of that key.

Each section is named after the asset that reads it or, where several assets do, after what it
describes. Editing a section rebuilds only the assets that read it and those that depend on them.

The middle column is the value in `params.yaml`. Types and ranges are defined in `model/params/`. A
`*` stands for a name that you choose; in the section of the two trainings, for either of them.
"""


def page(descriptions: dict[str, str]) -> str:
    """The page's text."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    parts, top = [_HEADING], []
    for name, field in Params.model_fields.items():
        section = _section(field.annotation)
        if section is None:
            top.append(_row(name, values[name], descriptions))
        elif name == TRAININGS[0]:
            parts.append(_table(" and ".join(f"`{one}`" for one in TRAININGS), section))
            parts[-1] += "".join(_trainings(section, values, descriptions))
        elif name != TRAININGS[1]:
            parts.append(_table(f"`{name}`", section))
            rows = (_row(key, _at(values, key), descriptions) for key in _keys(section, name))
            parts[-1] += "".join(rows)
    parts.insert(1, "## The whole file\n\n| key | value | what it does |\n| --- | --- | --- |\n")
    parts[1] += "".join(top)
    return "\n".join(parts)


def descriptions_of(text: str) -> dict[str, str]:
    """What a page says of each key."""
    return {key: description for key, _, description in _ROW.findall(text)}


def _table(title: str, section: type[Section]) -> str:
    said = " ".join((section.__doc__ or "").split("\n\n")[0].split()).replace("``", "`")
    return f"## {title}\n\n{said}\n\n| key | value | what it does |\n| --- | --- | --- |\n"


def _trainings(
    section: type[Section], values: dict[str, Any], descriptions: dict[str, str]
) -> Iterator[str]:
    for key in _keys(section, "*"):
        both = [_at(values, key.replace("*", name, 1)) for name in TRAININGS]
        shown = both[0] if both[0] == both[1] else both
        text = _shown(shown) if shown is both[0] else " / ".join(map(_shown, both))
        yield f"| `{key}` | {text} | {descriptions.get(key, '')} |\n"


def _row(key: str, value: Any, descriptions: dict[str, str]) -> str:
    return f"| `{key}` | {_shown(value)} | {descriptions.get(key, '')} |\n"


def _shown(value: Any) -> str:
    return "" if isinstance(value, dict) or value is ... else json.dumps(value)


def _at(values: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        if not isinstance(values, dict) or key not in values:
            return ...
        values = values[key]
    return values


def _keys(section: type[Section], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        inner = _section(field.annotation)
        many = get_origin(field.annotation) is dict
        named = _section(get_args(field.annotation)[1]) if many else None
        if inner is not None:
            yield from _keys(inner, f"{prefix}.{name}")
        elif named is not None:
            yield from _keys(named, f"{prefix}.{name}.*")
        else:
            yield f"{prefix}.{name}"


def _section(annotation: Any) -> type[Section] | None:
    if get_origin(annotation) in (Union, types.UnionType):
        return None
    is_section = isinstance(annotation, type) and issubclass(annotation, Section)
    return annotation if is_section else None


if __name__ == "__main__":
    known = descriptions_of(PAGE.read_text()) if PAGE.exists() else {}
    PAGE.write_text(page(known))
