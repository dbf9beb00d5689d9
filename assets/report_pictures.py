"""Small pictures for the asset pages, drawn as SVG: no plotting library to import, no file."""

import base64
import html
from collections.abc import Sequence

import dagster as dg
import numpy as np

_WIDTH, _HEIGHT, _MARGIN = 480, 150, 18
_SAMPLE = 100_000
_BINS = 40
_BAR, _LABEL = 22, 150


def strided(values: np.ndarray, most: int) -> np.ndarray:
    """A view of at most ``most`` evenly spaced rows of (N, ...) values."""
    return values[:: max(1, -(-len(values) // most))]


def histogram(values: np.ndarray, title: str) -> dg.MarkdownMetadataValue:
    """A histogram with bins of equal width.

    Args:
        values: (N,) numbers, of which at most ``_SAMPLE``, evenly spaced, are counted.
        title: of the picture; says what is counted.
    """
    some = np.asarray(strided(values, _SAMPLE), np.float64)
    some = some[np.isfinite(some)]
    if not len(some):
        return dg.MetadataValue.md("(nothing to count)")
    counts, edges = np.histogram(some, _BINS)
    tallest, step = max(1, int(counts.max())), _WIDTH / _BINS
    shapes = []
    for index, count in enumerate(counts.tolist()):
        height = round(_HEIGHT * count / tallest, 1)
        place = f"x='{index * step:.1f}' y='{_MARGIN + _HEIGHT - height:.1f}'"
        shapes.append(f"<rect {place} width='{step - 1:.1f}' height='{height}' fill='#3b6fd4'/>")
    bottom = _MARGIN + _HEIGHT + 14
    shapes.append(_text(0, bottom, f"{edges[0]:.4g}"))
    shapes.append(_text(_WIDTH, bottom, f"{edges[-1]:.4g}", anchor="end"))
    return _picture(shapes, bottom + 4, title)


def bars(labels: Sequence[str], values: Sequence[float], title: str) -> dg.MarkdownMetadataValue:
    """One bar per label, with its value."""
    largest = max([*values, 1e-12])
    shapes = []
    for index, (label, value) in enumerate(zip(labels, values, strict=True)):
        top = _MARGIN + index * _BAR
        length = round((_WIDTH - _LABEL - 80) * max(0.0, value) / largest, 1)
        shapes.append(_text(0, top + 14, label))
        shapes.append(f"<rect x='{_LABEL}' y='{top + 3}' width='{length}' height='14' ")
        shapes.append(f"fill='#3b6fd4'/>{_text(_LABEL + length + 6, top + 14, f'{value:.4g}')}")
    return _picture(shapes, _MARGIN + _BAR * len(labels) + 4, title)


def _text(x: float, y: float, content: str, *, anchor: str = "start") -> str:
    return f"<text x='{x}' y='{y}' text-anchor='{anchor}'>{html.escape(content)}</text>"


def _picture(shapes: Sequence[str], height: float, title: str) -> dg.MarkdownMetadataValue:
    drawing = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}' "
        f"font-family='sans-serif' font-size='11'>{_text(0, 11, title)}{''.join(shapes)}</svg>"
    )
    content = base64.b64encode(drawing.encode()).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/svg+xml;base64,{content})")
