"""`dagster dev`, whose web server also serves the artefacts and whose code server is restarted."""

import signal
from typing import Any

from dagster._cli import dev

from orchestration.code_server import RevivedCodeServers

_WEB_SERVER, _OURS = "dagster_webserver", "orchestration.web_server"
_start = dev.open_ipc_subprocess  # pyright: ignore[reportPrivateImportUsage]


def _start_ours(parts: list[str], **options: Any) -> Any:
    return _start([_OURS if part == _WEB_SERVER else part for part in parts], **options)


def main() -> None:
    """Dagster's own command: web server, daemon and code server until Ctrl-C or SIGTERM.

    A shell starts background processes with SIGINT ignored, and Dagster would then ignore SIGTERM
    as well.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    dev.open_ipc_subprocess = _start_ours  # pyright: ignore[reportPrivateImportUsage]
    dev.ProxyServerManager = RevivedCodeServers  # pyright: ignore[reportPrivateImportUsage]
    dev.dev_command()


if __name__ == "__main__":
    main()
