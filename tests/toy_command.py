"""The command as tests give it, in their own process."""

from jaxtag.cli import main


def call(*arguments: object) -> int:
    """The command's exit code."""
    try:
        main([str(a) for a in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0
