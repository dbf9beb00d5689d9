"""Dagster's code server, restarted when it dies and reloaded when parameters are edited.

`dagster dev` restarts the proxy in front of the code server, but not the process behind it that
holds the definitions: without that process every page and every launch fails until somebody presses
Reload. Nor does it notice that the definitions are those of an older parameter file.
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
    """Reloads the definitions where the process behind a proxy is dead, or they are outdated."""

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
    """Ping the code server periodically; reload it where it does not answer, or after an edit.

    Args:
        create_client: makes a client of the proxy; called each time, as a proxy may be restarted.
        stopped: ends the loop.
        edited: whether what is loaded has been edited since the last call.
        seconds: between two pings.
    """
    silent = 0
    while not stopped.wait(seconds):
        silent = 0 if _answers(create_client()) else silent + 1
        if silent == SILENT_CHECKS:
            logger.warning("the code server does not answer; restarting it")
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
        # The proxy calls the dead process after it has started another; or the proxy itself is
        # gone, and Dagster restarts it. The next ping tells.
        logger.debug("reloading ended with: %s", error)
