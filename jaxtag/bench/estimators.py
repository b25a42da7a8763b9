"""Estimators beside the peers that a user would take instead: fitting and predicting, in turns, on the same posts.

    naive_bayes   scikit-learn's `MultinomialNB`
    svm           scikit-learn's `OneVsRestClassifier` of `LinearSVC` in its primal form, both to their own tolerance
    neighbours    scikit-learn's `NearestNeighbors`, by brute force, of training and test posts, as ML-kNN asks them;
                  what ML-kNN then counts is the same code on both sides
    tfidf         scikit-learn's `TfidfVectorizer` of one to three words, and `NearestNeighbors` by cosine
    topics        gensim's `LdaModel.inference`, which starts at random; ours goes on as long as each post needs, with
                  gensim's own limits of change and rounds

Word vectors and topics are fitted by gensim itself (`jaxtag-prep vectors`, `topics`): there is nothing to compare.
Naive Bayes' counts are fitted by scikit-learn too, a block of hashtags at a time; what differs is what is kept, and how
it predicts.
"""

import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from jaxtag.bench.estimator_pairs import OWN, PAIRS, Made, Setup, make
from jaxtag.bench.machine import cores, processor
from jaxtag.errors import JaxtagError, nearest
from jaxtag.progress import progress


def bench(names: Sequence[str], setup: Setup) -> dict[str, Any]:
    """Measure the pairs `names`, all if empty, one after the other.

    Returns:
      `machine`, `cores`, `setup`, and `rows`: of each pair `ours_seconds`, `theirs_seconds`, medians of fitting and
      predicting together; `ratio`, the median of ours over theirs in neighbouring runs, `ratio_all`; and `agree`, the
      share of test posts to which both say the same first: hashtag, neighbour or topic.

    Raises:
      JaxtagError: a name is unknown, or a number is impossible.
    """
    for name in names:
        if name not in PAIRS:
            raise JaxtagError(f"no estimator {name!r} is compared", nearest(name, PAIRS))
    for name, value in asdict(setup).items():
        if value < (0 if name == "seed" else 1):
            raise JaxtagError(f"--{name} is {value}; it must be above 0")
    if setup.posts < max(10 * OWN, setup.hashtags):
        raise JaxtagError(f"--posts is {setup.posts}", f"give {max(10 * OWN, setup.hashtags)} or more")
    made = make(setup)
    rows = [_measured(name, made) for name in names or PAIRS]
    machine = f"{platform.machine()} {processor()}".strip()
    return {"machine": machine, "cores": cores(), "setup": asdict(setup), "rows": rows}


def render(found: dict[str, Any]) -> str:
    """The pairs as a table."""
    from jaxtag.report.tables import markdown

    lines = [
        {
            "estimator": row["estimator"], "peer": row["peer"], "ours s": f"{row['ours_seconds']:.3f}",
            "peer s": f"{row['theirs_seconds']:.3f}", "ratio": f"{row['ratio']:.3f}", "agree": f"{row['agree']:.1%}",
        }
        for row in found["rows"]
    ]  # fmt: skip
    setup = found["setup"]
    return "\n".join([
        markdown(lines, list(lines[0])), "",
        f"fitted to {setup['posts']:,} made-up posts of {setup['words']:,} words, {setup['hashtags']} hashtags and "
        f"{setup['features']} features, predicting {setup['tests']:,}; {setup['rounds']} alternating pairs of runs, "
        f"seconds of fitting and predicting; ratio: ours over the peer's, median of pairs",
        f"word vectors and topics are fitted by gensim itself; {found['machine']}, {found['cores']} cores",
    ])  # fmt: skip


def _measured(name: str, made: Made) -> dict[str, Any]:
    """A row of `bench`."""
    peer, make_pair = PAIRS[name]
    try:
        ours, theirs = make_pair(made)
    except ImportError as error:
        raise JaxtagError(f"{error.name} is not installed", "pip install scikit-learn gensim") from None
    said = [np.asarray(side()) for side in (ours, theirs)]  # compiles, and warms
    times: list[list[float]] = [[], []]
    for _ in progress(range(made.setup.rounds), f"measuring {name}"):
        for found, side in zip(times, (ours, theirs)):
            started = time.perf_counter()
            np.asarray(side())
            found.append(time.perf_counter() - started)
    ratios = [a / b for a, b in zip(*times)]
    return {
        "estimator": name, "peer": peer, "ours_seconds": statistics.median(times[0]),
        "theirs_seconds": statistics.median(times[1]), "ratio": statistics.median(ratios), "ratio_all": ratios,
        "agree": float((said[0] == said[1]).mean()),
    }  # fmt: skip
