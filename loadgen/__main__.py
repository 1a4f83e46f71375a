"""Where the program begins: ``loadgen`` and ``python -m loadgen``."""

import sys

_INTERRUPTED = 130
"""``ExitCode.INTERRUPTED``, known before anything is loaded."""


def run() -> int:
    """Load the command line and run it; a Ctrl-C while it still loads ends it without a traceback.

    Returns:
        The exit code.
    """
    try:
        from loadgen.cli import main  # noqa: PLC0415 - loading takes long enough to be interrupted
    except KeyboardInterrupt:
        return _INTERRUPTED
    return main()


if __name__ == "__main__":
    sys.exit(run())
