"""The `jaxtag-prep` command; its verbs are the modules of `verbs/`."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from jaxtag.ending import code_of
from jaxtag.errors import JaxtagError, nearest
from jaxtag.files import named

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
    """Run `jaxtag-prep`; returns the exit code: 0, 2 for the user's mistake, 1 for ours, 75 or 130 when stopped."""
    given = sys.argv[1:] if argv is None else list(argv)
    return code_of("jaxtag-prep", lambda: _run(given))


def _run(argv: list[str]) -> None:
    started = time.monotonic()
    parser, verbs = _parsers()
    if argv and not argv[0].startswith("-") and argv[0] not in verbs:
        raise JaxtagError(f"no verb {argv[0]!r}", nearest(argv[0], verbs))
    if argv and argv[0] in verbs:
        verbs[argv[0]].check(argv[1:])
    arguments = parser.parse_args(argv)
    with named(getattr(arguments, "out", None) or arguments.data):
        result = arguments.run(vars(arguments))
    result |= {"seconds": round(time.monotonic() - started, 1)}
    print(json.dumps(result, ensure_ascii=False) if arguments.json else arguments.render(result))


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
