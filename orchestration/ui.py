"""`onepiece ui`: Dagster's web server and daemon on this machine's loopback address."""

import os
import sys

from assets.workspace import Workspace
from orchestration.instance import open_instance
from orchestration.workspace import DATA_VARIABLE, PARAMS_VARIABLE

HOST = "127.0.0.1"


def serve(workspace: Workspace, port: int) -> None:
    """Become `dagster dev`: web server, daemon and code server, ended by one Ctrl-C."""
    open_instance(workspace).dispose()
    environment = {
        **os.environ,
        PARAMS_VARIABLE: str(workspace.params_file),
        DATA_VARIABLE: str(workspace.data),
    }
    command = [sys.executable, "-m", "dagster", "dev", "--host", HOST, "--port", str(port)]
    where = ["--working-directory", str(workspace.root), "--module-name"]
    os.execve(sys.executable, [*command, *where, "orchestration.definitions"], environment)
