"""Pictures as files: the same figure is the same bytes."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_png(figure: "Figure", file: Path, dpi: int = 110) -> None:
    """Write a figure that no window and no ``pyplot`` knows of.

    Args:
        figure: is laid out tightly first.
        file: to write.
        dpi: dots per inch.
    """
    figure.tight_layout()
    # The default metadata names the version of matplotlib: other bytes for the same picture.
    figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
