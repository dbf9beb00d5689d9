"""Dagster's code server, brought back when it dies and started anew when parameters are edited.

`dagster dev` restarts the proxy in front of the code server, but not the process behind it that
holds the definitions: without that one every page and every launch fails until somebody presses
Reload. Nor does it see that the definitions are those of an older parameter file.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._core.errors import DagsterUserCodeUnreachableError

from orchestration.edits import Edits
from orchestration.workspace import workspace_from_environment

CHECK_SECONDS = 3.0
SILENT_CHECKS = 2  # of a process that may only be slow
RELOAD_SECONDS = 180

logger = logging.getLogger("dagster")


class RevivedCodeServers(ProxyServerManager):
    """Reloads the definitions of a proxy that stands in front of nobody, or of what is outdated."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._stopped = threading.Event()
        self._edits = Edits(workspace_from_environment())  # before the first process loads them
        super().__init__(*args, **kwargs)

    def _process_monitoring_thread(self, process_entry: Any) -> None:
        """Dagster's own watch over the proxy, and ours over the process behind it."""
        arguments = (process_entry.create_client, self._stopped, self._edits.found)
        threading.Thread(target=revive, args=arguments, daemon=True).start()
        super()._process_monitoring_thread(process_entry)

    def __exit__(self, *error: Any) -> None:
        self._stopped.set()
        super().__exit__(*error)


def revive(
    create_client: Callable[[], Any],
    stopped: threading.Event,
    edited: Callable[[], bool],
    seconds: float = CHECK_SECONDS,
) -> None:
    """Ask again and again whether somebody answers; reload where nobody does, or after an edit.

    Args:
        create_client: makes a client of the proxy; anew each time, for a proxy may be restarted.
        stopped: ends it.
        edited: whether what is loaded has been edited since it was last asked.
        seconds: between two questions.
    """
    silent = 0
    while not stopped.wait(seconds):
        silent = 0 if _answers(create_client()) else silent + 1
        if silent == SILENT_CHECKS:
            logger.warning("the code server does not answer; it is started again")
        if edited() or silent == SILENT_CHECKS:
            _reload(create_client())
            silent = 0


def _answers(client: Any) -> bool:
    try:
        client.ping("")
    except DagsterUserCodeUnreachableError:
        return False
    return True


def _reload(client: Any) -> None:
    try:
        client.reload_code(timeout=RELOAD_SECONDS)
    except DagsterUserCodeUnreachableError as error:
        # The proxy takes leave of the dead process after it has started another; or the proxy is
        # gone itself, and Dagster starts that one again. The next question tells.
        logger.debug("reloading ended with: %s", error)
