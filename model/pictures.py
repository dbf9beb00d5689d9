"""Pictures as reproducible files: equal figures give equal bytes."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_png(figure: "Figure", file: Path, dpi: int = 110) -> None:
    """Write a figure that was made without ``pyplot``.

    Args:
        figure: to write; gets a tight layout.
        file: the PNG file.
        dpi: dots per inch.
    """
    figure.tight_layout()
    # The default metadata holds matplotlib's version, with which the bytes would change.
    figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
