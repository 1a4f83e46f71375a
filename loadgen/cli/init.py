"""``loadgen init``: a ``bench.toml`` of one's own to edit."""

from __future__ import annotations

from pathlib import Path

import click

from loadgen.config.bench import BENCH_FILE, packaged_bench_text
from loadgen.errors import UsageError


@click.command("init")
def command() -> None:
    """Write bench.toml, the scenarios to start from, into this folder.

    An existing file is never overwritten.
    """
    path = Path(BENCH_FILE)
    try:
        file = path.open("x", encoding="utf-8")
        try:
            with file:
                file.write(packaged_bench_text())
        except OSError:
            path.unlink()  # half a file would be found by the next run
            raise
    except FileExistsError:
        raise UsageError(
            "exists already and is not overwritten",
            where=BENCH_FILE,
            remedy="Edit it, or move it away first.",
        ) from None
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror}", where=BENCH_FILE, remedy="Go to a folder that is yours."
        ) from None
    click.echo(f"Wrote {BENCH_FILE}. Run a scenario of it with: loadgen run --scenario quick")
