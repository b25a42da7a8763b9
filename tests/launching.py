"""What the tests of the launchers share."""

import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = ROOT / "launch"


def launch(script: str, *arguments: object, check: bool = False, **settings: Any) -> subprocess.CompletedProcess[str]:
    command = [str(LAUNCH / f"{script}.sh"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=check, timeout=300, **settings)


def within(text: str) -> str:
    """What a dry run shows of a file, between <<'END' and END."""
    return text.partition("<<'END'\n")[2].partition("\nEND\n")[0] + "\n"
