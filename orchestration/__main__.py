"""The command line: `onepiece COMMAND`, or `python -m orchestration COMMAND`.

The commands are in `orchestration.commands`. Each imports what it needs when it runs, so that
`--help` answers at once.
"""

import logging
import os
import sys
from pathlib import Path

import typer

from model.progress import IN_BAR
from orchestration import stage_server
from orchestration.commands import machine, making, results, submissions
from orchestration.failures import INTERRUPTED, told

# Nothing leaves the machine: no tool may report what it was used for.
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")

COMMANDS = (  # as the help lists them
    making.materialize,
    results.report,
    results.costs,
    making.tokenize,
    making.synthesize,
    submissions.lineage,
    submissions.submissions,
    submissions.verify,
    submissions.diff,
    submissions.rebuild,
    results.explain,
    results.recommend,
    results.export,
    results.quotas,
    results.plan,
    results.rollback,
    making.tune,
    making.adopt,
    machine.sync,
    machine.ui,
    machine.doctor,
)

app = typer.Typer(
    name="onepiece",
    invoke_without_command=True,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.callback()(machine.onepiece)
for _command in COMMANDS:
    app.command()(_command)


def main() -> None:
    """Run the command line; a stage of `dvc repro` in its stage server, if there is one."""
    _open_closed_streams()
    if "DVC_STAGE" in os.environ:
        from orchestration import lock_guard

        above = lock_guard.dvc_above()
        if above is not None:
            lock_guard.start_guard(above, Path.cwd())
        code = stage_server.run_stage()
        if code is not None:
            sys.exit(code)
    run_command()


def _open_closed_streams() -> None:
    """Open to /dev/null the standard streams that the caller closed, as in `2>&-`.

    Otherwise another file could get a stream's number, and prints would go into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            os.set_inheritable(number, True)  # dup2 does not, where both numbers are the same
            setattr(sys, name, os.fdopen(number, "r+"))


def run_command() -> None:
    """Run the command line here; an error that the user can fix is one sentence and a code."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    handler.addFilter(lambda record: not getattr(record, IN_BAR, False))
    logger = logging.getLogger("onepiece")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        app()
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            typer.echo("onepiece: interrupted; the same command resumes", err=True)
        raise
    except Exception as error:
        sentence, code = told(error) or (None, None)
        if sentence is None:
            raise
        typer.echo(f"onepiece: {sentence}", err=True)
        sys.exit(code)


if __name__ == "__main__":
    main()
