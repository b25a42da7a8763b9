"""`jaxtag evaluate`: a run's metrics on a part of its split."""

import argparse
from typing import Any

from jaxtag.verbs import shared

SUMMARY = "Evaluate a run on a part of its split, beside the built-in baselines."
EXAMPLES = """\
  jaxtag evaluate RUN
  jaxtag evaluate RUN --part validation --json
  jaxtag evaluate RUN --among all          of a split with unseen hashtags: seen and unseen candidates together
  jaxtag evaluate RUN --threshold 0.5      every hashtag of that probability or more, of runs with the objective sigmoid
"""
PROCESSES = "many"


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    shared.run_argument(p)
    shared.part_option(p)
    p.add_argument(
        "--among", default="split", metavar="WHICH", help="candidates: the split's, those seen, or all (split)"
    )
    p.add_argument("--threshold", type=float, metavar="P", help=shared.THRESHOLD)


def run(args: argparse.Namespace) -> shared.Said:
    """Evaluate, and show the table."""
    from jaxtag.evaluation.evaluate import evaluate
    from jaxtag.parallel import watchdog
    from jaxtag.parallel.compiling import keep_compiled
    from jaxtag.report.tables import metrics_table

    keep_compiled()
    with watchdog.watching(doing="before the first posts"):
        found = evaluate(args.run, args.part, args.data, args.among, args.threshold)
    said = [metrics_table({found["recipe"]: found, **found["baselines"]}), *notes(found)]
    return found, "\n\n".join(said)


def notes(found: dict[str, Any]) -> list[str]:
    """What the table does not say: of a zero-shot evaluation, and of word vectors."""
    said = []
    if "generalised" in found:
        g, names = found["generalised"], ("seen", "unseen", "harmonic")
        each = ", ".join(f"{name} {g[name]:.3f}" for name in names)
        macro = ", ".join(f"{name} {g[name + '_macro']:.3f}" for name in names)
        said.append(f"accuracy@1 by kind of hashtag: {each}; each hashtag alike: {macro}")
    if "threshold" in found:
        t = found["threshold"]
        scores = ", ".join(f"{name} {t[name]:.3f}" for name in ("precision", "recall", "f1", "accuracy"))
        said.append(
            f"every hashtag of probability {t['probability']:g} or more: {scores}; {t['predicted']:.2f} a post, none "
            f"to {t['empty']:.1%} of posts"
        )
    if "vectors" in found:
        v = found["vectors"]
        words = (
            f"; the encoder's words start {'from ' * (v['words'] != 'at random')}{v['words']}" if "words" in v else ""
        )
        name = v["name"] if v["name"] == v["setting"] else f"{v['name']}, {v['setting']}"
        name += f", {v['kind']}" if "kind" in v else ""
        what = "hashtags' vectors" if v.get("of", "hashtags") == "hashtags" else "word vectors"
        said.append(f"{what}: {name}{words}; {found['candidates']['count']} candidates")
    return said
