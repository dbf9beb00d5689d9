"""Dagster's web server with one more folder: the artefacts, so that its pages can link to theirs.

A browser does not follow a ``file:`` link from a served page. The pages within artefacts (a
submission's lineage, the data docs of a check) are therefore served at the same address, read-only.
"""

import os
from pathlib import Path

from dagster_webserver import app, cli
from dagster_webserver.webserver import DagsterWebserver
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from assets.report_metadata import FILES_ADDRESS
from orchestration.workspace import DATA_VARIABLE

_DATA_DOCS = ".data_docs"  # the pages of Great Expectations, to which the checks link


class ArtifactFiles(StaticFiles):
    """The data folder without what is hidden in it, but for the data docs."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """As Starlette's, which answers 404 where nothing is found."""
        shown = path.removeprefix(f"{_DATA_DOCS}/")
        if any(part.startswith(".") for part in Path(shown).parts):
            return "", None
        return super().lookup_path(path)


class ArtifactWebserver(DagsterWebserver):
    """Serves the data folder of ``ONEPIECE_DATA`` beside everything else."""

    def build_routes(self) -> list[BaseRoute]:
        """Dagster's routes, after the one of the artefacts."""
        files = ArtifactFiles(directory=os.environ[DATA_VARIABLE], check_dir=False)
        return [Mount(FILES_ADDRESS, files), *super().build_routes()]


def main() -> None:
    """Dagster's own command, with our server in place of its."""
    app.DagsterWebserver = ArtifactWebserver  # pyright: ignore[reportPrivateImportUsage]
    cli.main()


if __name__ == "__main__":
    main()
