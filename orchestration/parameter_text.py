"""Change single values in the text of a parameter file: all else in it stays, byte for byte."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from model.errors import InputError


def with_values(file: Path, values: Mapping[str, Any]) -> str:
    """A parameter file's text with other values at some dotted keys.

    Raises:
        InputError: the file is no YAML, or lacks one of the keys.
    """
    text = file.read_text()
    try:
        document = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise InputError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    spans = []
    for dotted, value in values.items():
        node: Any = document
        for key in dotted.split("."):
            node = _child(node, key)
        if node is None:
            raise InputError(f"{file}: has no key {dotted} to put a value at")
        spans.append((node.start_mark.index, _end(node), _as_yaml(value)))
    for start, end, written in sorted(spans, reverse=True):
        text = text[:start] + written + text[end:]
    return text


def _child(node: Any, key: str) -> Any:
    if not isinstance(node, yaml.MappingNode):
        return None
    found = [value for name, value in node.value if name.value == key]
    return found[0] if found else None


def _end(node: Any) -> int:
    """Where a value's own text ends; a block list's mark stands behind the comments after it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return node.end_mark.index


def _as_yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf)
    return text.removesuffix("...\n").strip()
