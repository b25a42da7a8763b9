"""The `jaxtag-prep` command; its verbs are the modules of `verbs/`."""

import argparse
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from jaxtag.errors import JaxtagError, nearest

from .room import room
from .verbs import (
    harrison,
    images,
    instacities,
    instagram,
    nus_wide,
    pack,
    posts,
    regions,
    simulate,
    split,
    topics,
    twitter,
    vectors,
    wordpieces,
)

VERBS = (
    posts,
    twitter,
    instagram,
    instacities,
    harrison,
    nus_wide,
    simulate,
    pack,
    split,
    vectors,
    topics,
    wordpieces,
    images,
    regions,
)  # in the order of --help


class _Parser(argparse.ArgumentParser):
    """A parser whose mistakes are one line, with the nearest right name."""

    def error(self, message: str) -> NoReturn:
        raise JaxtagError(message, f"see {self.prog} --help")

    def check(self, argv: Sequence[str]) -> None:
        """Find options that there are not, before a missing one is complained of."""
        known = [option for option in self._option_string_actions if option.startswith("--")]
        for argument in argv:
            name = argument.partition("=")[0]
            if name.startswith("--") and name not in (*known, "--"):
                raise JaxtagError(f"{self.prog} has no option {name}", nearest(name, known))


def main(argv: Sequence[str] | None = None) -> int:
    """Run `jaxtag-prep`; returns the exit code: 0, 2 (the user's mistake), 1 (ours) or 130 (interrupted)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    started = time.monotonic()
    try:
        parser, verbs = _parsers()
        if argv and not argv[0].startswith("-") and argv[0] not in verbs:
            raise JaxtagError(f"no verb {argv[0]!r}", nearest(argv[0], verbs))
        if argv and argv[0] in verbs:
            verbs[argv[0]].check(argv[1:])
        arguments = parser.parse_args(argv)
        with room(getattr(arguments, "out", None) or arguments.data):
            result = arguments.run(vars(arguments))
        result |= {"seconds": round(time.monotonic() - started, 1)}
        print(json.dumps(result, ensure_ascii=False) if arguments.json else arguments.render(result))
    except JaxtagError as error:
        print(f"jaxtag-prep: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:  # a folder that may not be written
        print(f"jaxtag-prep: {error.filename or 'reading or writing'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _render(result: dict[str, Any]) -> str:
    """A result as lines for a reader."""
    lines = []
    for key, value in result.items():
        if key == "funnel":
            lines += [f"{step['posts']:>12,}  {step['step']}" for step in value]
        elif isinstance(value, dict):
            lines.append(f"{key}: " + ", ".join(f"{name} {number}" for name, number in value.items()))
        else:
            lines.append(f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    return "\n".join(lines)


def _parsers() -> tuple[_Parser, dict[str, _Parser]]:
    parser = _Parser(
        prog="jaxtag-prep",
        description="Make dataset folders that jaxtag trains on. A run that was stopped goes on when given again.",
        epilog="jaxtag-prep VERB --help has examples.",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    found: dict[str, _Parser] = {}
    for verb in VERBS:
        name = verb.__name__.rpartition(".")[2].replace("_", "-")
        found[name] = verbs.add_parser(
            name,
            help=verb.SUMMARY,
            description=verb.SUMMARY,
            epilog="examples:\n" + verb.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        found[name].set_defaults(run=verb.run, render=getattr(verb, "render", _render))
        found[name].add_argument("--json", action="store_true", help="print exactly one JSON document")
        verb.options(found[name])
    return parser, found


if __name__ == "__main__":
    sys.exit(main())
