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
        InputError: the file is not UTF-8 or not valid YAML, or lacks one of the keys.
    """
    try:
        text = file.read_bytes().decode()  # as text, line ends would be changed
        document = yaml.compose(text, yaml.SafeLoader)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    spans, shared = [], _shared(document)
    for dotted, value in values.items():
        node: Any = document
        for key in dotted.split("."):
            node = _child(node, key)
            if node is not None and id(node) in shared:
                raise InputError(
                    f"{file}: {dotted} shares its value with other keys by an anchor; write it out"
                )
        if node is None:
            raise InputError(f"{file}: has no key {dotted} to put a value at; add it")
        # A block's lines may be indented no further than its key, but a value has to be.
        indent = "  " if _is_block(node) else ""
        spans.append((node.start_mark.index, _end(node), indent + _as_yaml(value)))
    for start, end, written in sorted(spans, reverse=True):
        text = text[:start] + written + text[end:]
    return text


def _child(node: Any, key: str) -> Any:
    if not isinstance(node, yaml.MappingNode):
        return None
    found = [value for name, value in node.value if name.value == key]
    return found[0] if found else None


def _shared(document: Any) -> set[int]:
    """Identities of the nodes that occur at several places, by an anchor and its aliases."""
    met, shared, pending = set(), set(), [document]
    while pending:
        node = pending.pop()
        if id(node) in met:
            shared.add(id(node))
            continue
        met.add(id(node))
        if isinstance(node, yaml.MappingNode):
            pending += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            pending += node.value
    return shared


def _is_block(node: Any) -> bool:
    return isinstance(node, yaml.CollectionNode) and not node.flow_style


def _end(node: Any) -> int:
    """Where a value's own text ends; a block's end mark is behind the comments after it."""
    if _is_block(node) and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return node.end_mark.index


def _as_yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf)
    return text.removesuffix("...\n").strip()
