"""The `jaxtag` command; its verbs are the modules of `verbs/`. Nothing heavy is imported for --help."""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from jaxtag.ending import code_of
from jaxtag.errors import JaxtagError, nearest
from jaxtag.parallel import distributed
from jaxtag.verbs import (
    bench_estimators,
    bench_neighbours,
    bench_step,
    crossvalidate,
    data_export,
    data_show,
    evaluate,
    export,
    plan,
    preflight,
    quickstart,
    recommend,
    report,
    reproduce,
    sweep,
    systems,
    train,
)

# In the order of --help.
VERBS = (
    train, crossvalidate, sweep, evaluate, recommend, systems, data_show, data_export, export, report, plan, preflight,
    reproduce, bench_step, bench_estimators, bench_neighbours, quickstart,
)  # fmt: skip
GROUPS = {"data": "show or export a dataset", "bench": "measure how fast jaxtag is, against others"}


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are JaxtagErrors, and whose options cannot be abbreviated."""

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs |= {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise JaxtagError(message, f"see {self.prog} --help")


def parser() -> Parser:
    """The command line as a whole."""
    root = Parser(
        prog="jaxtag",
        description="Train, compare and use hashtag recommenders in JAX.",
        epilog="first time here: jaxtag quickstart",
    )
    verbs = root.add_subparsers(dest="verb", required=True, metavar="VERB")
    groups: dict[str, Any] = {}
    for module in VERBS:
        *group, name = _words(module)
        if group and group[0] not in groups:
            inner = verbs.add_parser(group[0], help=GROUPS[group[0]], description=GROUPS[group[0]])
            groups[group[0]] = inner.add_subparsers(dest=f"{group[0]}_verb", required=True, metavar="VERB")
        _verb(groups[group[0]] if group else verbs, name, module)
    return root


def _words(module: ModuleType) -> list[str]:
    """What a user types for a verb: `data_show` is `data show`."""
    return module.__name__.rpartition(".")[2].split("_")


def _verb(verbs: Any, name: str, module: ModuleType) -> None:
    """One verb: its help is its summary, followed by examples."""
    text = module.SUMMARY
    p = verbs.add_parser(
        name,
        help=text[0].lower() + text[1:].rstrip("."),
        description=text,
        epilog="examples:\n" + module.EXAMPLES,
    )
    module.options(p)
    p.add_argument("--json", action="store_true", help="print one JSON document on standard output")
    p.set_defaults(run_verb=module.run, takes_overrides=getattr(module, "OVERRIDES", False))
    p.set_defaults(module=module, processes=getattr(module, "PROCESSES", ""))


def _overrides(extra: Sequence[str], allowed: bool) -> dict[str, str]:
    """`--part.field value` and `--part.field=value` as a mapping."""
    found: dict[str, str] = {}
    rest = list(extra)
    while rest:
        key, equals, value = rest.pop(0).partition("=")
        if not (allowed and key.startswith("--") and "." in key):
            raise JaxtagError(f"unknown argument {key!r}", "see --help")
        if not equals:
            if not rest:
                raise JaxtagError(f"{key} has no value")
            value = rest.pop(0)
        found[key[2:]] = value
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0, 2 for the user's mistake, 1 for ours, 75 when stopped and saved."""
    given = list(sys.argv[1:] if argv is None else argv)
    if code := code_of("jaxtag", lambda: _run(given)):
        distributed.leave(code)
        sys.exit(code)


def _run(argv: list[str]) -> None:
    known = list(dict.fromkeys(_words(module)[0] for module in VERBS))
    if argv and not argv[0].startswith("-") and argv[0] not in known:
        raise JaxtagError(f"no verb {argv[0]!r}", nearest(argv[0], known))
    args, extra = parser().parse_known_args(argv)
    args.overrides = _overrides(extra, args.takes_overrides)
    if args.processes == "one":
        distributed.only_one(" ".join(_words(args.module)))
    with distributed.joined() if args.processes == "many" else contextlib.nullcontext():
        found, text = args.run_verb(args)
        if not distributed.leads():
            return
        if args.json and found is not None:
            print(json.dumps(found, ensure_ascii=False))
        elif text:
            print(text)


def program() -> None:
    """The command as installed: `main`, in a process whose large arrays lie on large pages.

    Learning touches rows all over tables of hundreds of megabytes, which on pages of 4 KiB is mostly waiting for the
    processor to find the pages (RESULTS.md has the difference). glibc's allocator asks Linux for large ones only where
    it is told so before a program starts, so the program starts once more.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if sys.platform == "linux" and "glibc.malloc.hugetlb" not in tunables:
        os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, (tunables, "glibc.malloc.hugetlb=1")))
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    main()


if __name__ == "__main__":
    program()
