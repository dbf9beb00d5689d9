"""Stages of one `dvc repro`, forked from a process that has imported the slow packages once.

DVC starts every stage as a process, and most of a small stage's time is the import of Dagster,
PyTorch and the like. The first stage starts a server from which the later ones are forked. It
imports packages but none of this project's code, so that an edit between two stages takes effect,
and ends when no stage has come for a while. Without a server, a stage runs in its own process.
"""

import importlib
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path

SOCKET = Path(".dvc", "tmp", "stages.sock")  # below the repository's root, where stages run
IDLE_SECONDS, KILLED = 15.0, 128 + signal.SIGKILL
_PACKAGES = (
    "dagster",
    "dagster._core.storage.sql",
    "dagster._core.storage.runs",
    "pandas",
    "pyarrow.dataset",
    "duckdb",
    "torch",
    "great_expectations",
    "matplotlib.figure",
    "numba",
    "scipy.sparse",
    "safetensors.torch",
)


def run_stage() -> int | None:
    """Let the server run this process's command, with its files, folder and environment.

    Returns:
        The exit code; None where there is no server yet: one is started for the next stage.
    """
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(str(SOCKET))
            command = [sys.argv, str(Path.cwd()), {**os.environ}]
            socket.send_fds(server, [json.dumps(command).encode() + b"\n"], [0, 1, 2])
            taken = server.recv(1)
        except OSError:
            taken = b""
        if not taken:  # none there, or one that has just ended
            _start()
            return None
        return _outcome(server)


def _outcome(server: socket.socket) -> int:
    try:
        answer = server.recv(16)
    except KeyboardInterrupt:  # the stage is interrupted as well; wait until it has ended
        server.shutdown(socket.SHUT_WR)
        answer = server.recv(16)
    return int(answer) if answer else KILLED


def _start() -> None:
    subprocess.Popen(
        [sys.executable, "-m", "orchestration.stage_server"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


class _Stage(socketserver.BaseRequestHandler):
    """One stage, in a process forked for it."""

    server: "_Server"

    def handle(self) -> None:
        request: socket.socket = self.request
        self.server.socket.close()  # this process needs only the connection
        message, files, *_ = socket.recv_fds(request, 1 << 16, 3)
        while not message.endswith(b"\n"):
            if not (more := request.recv(1 << 16)):  # who asked is gone
                return
            message += more
        request.sendall(b"+")
        sys.argv, folder, environment = json.loads(message)
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        threading.Thread(target=_end_with, args=(request,), daemon=True).start()
        request.sendall(str(_run()).encode())


def _run() -> int:
    """The command line, as if it had been started here."""
    from orchestration.__main__ import run_command

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run_command()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _end_with(client: socket.socket) -> None:
    """Interrupt this process when the one that waits for it dies or is interrupted."""
    if not client.recv(1):
        os.kill(os.getpid(), signal.SIGINT)


class _Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    pass


def serve() -> None:
    """Import the packages, handling requests in between, then serve stages until none come."""
    SOCKET.unlink(missing_ok=True)
    with _Server(str(SOCKET), _Stage) as server:
        server.timeout = 0
        for package in _PACKAGES:
            importlib.import_module(package)
            server.handle_request()
        server.timeout = 1.0
        last = time.monotonic()
        while time.monotonic() - last < IDLE_SECONDS:
            server.handle_request()
            if server.active_children:
                last = time.monotonic()


if __name__ == "__main__":
    serve()
