"""`onepiece ui`: Dagster's web server and daemon on this machine's loopback address."""

import os
import socket
import sys

from assets.workspace import Workspace
from model.artifact import require_folder
from model.errors import InputError
from orchestration.automation import require_schedule
from orchestration.instance import open_instance
from orchestration.materialization import warn_of_another_file
from orchestration.workspace import DATA_VARIABLE, PARAMS_VARIABLE

HOST = "127.0.0.1"
SENSOR_SECONDS = 6 * 3600  # the first tick hashes all raw files


def serve(workspace: Workspace, port: int) -> None:
    """Replace this process by `dagster dev`: web server, daemon and code server until Ctrl-C.

    Args:
        workspace: what the pages show and the runs work on.
        port: of the web server.

    Raises:
        InputError: the port is taken, the schedule is invalid, or the data cannot be written to.
    """
    require_schedule(workspace)
    _require_port(port)
    require_folder(workspace.data, writable=True)  # for the records of Dagster
    warn_of_another_file(workspace)
    open_instance(workspace).dispose()
    environment = {
        **os.environ,
        PARAMS_VARIABLE: str(workspace.params_file),
        DATA_VARIABLE: str(workspace.data),
        "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": str(SENSOR_SECONDS),
        "DAGSTER_GRPC_SHUTDOWN_GRACE_PERIOD": "60",  # else as long as a sensor may take
    }
    command = [sys.executable, "-m", "orchestration.development_server"]
    where = ["--host", HOST, "--port", str(port), "--working-directory", str(workspace.root)]
    what = ["--module-name", "orchestration.definitions"]
    os.execve(sys.executable, [*command, *where, *what], environment)


def _require_port(port: int) -> None:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server itself does
        try:
            trial.bind((HOST, port))
        except OSError as error:
            raise InputError(
                f"port {port} of {HOST}: {error.strerror}; choose another with --port"
            ) from None
