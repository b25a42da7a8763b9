"""`jaxtag bench estimators`: fitting and predicting beside scikit-learn and gensim."""

import argparse
from pathlib import Path

from jaxtag.verbs import shared

SUMMARY = "Measure estimators in turn with scikit-learn's and gensim's, on made-up posts."
EXAMPLES = """\
  jaxtag bench estimators
  jaxtag bench estimators naive_bayes svm --posts 50000 --hashtags 100 --out estimators.json
  jaxtag bench estimators tfidf --posts 2000 --tests 512 --rounds 1
the names are naive_bayes, svm, neighbours (of ML-kNN), tfidf and topics
leave the machine alone meanwhile: under a load the two sides suffer differently"""
OVERRIDES = False


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options."""
    p.add_argument("names", nargs="*", metavar="NAME", help="what to measure (all)")
    p.add_argument("--posts", type=int, default=20_000, metavar="N", help="posts to fit on (20000)")
    p.add_argument("--tests", type=int, default=4_096, metavar="N", help="posts to predict (4096)")
    p.add_argument("--words", type=int, default=30_000, metavar="N", help="words that there are (30000)")
    p.add_argument("--hashtags", type=int, default=50, metavar="N", help="hashtags that there are (50)")
    p.add_argument("--features", type=int, default=300, metavar="N", help="numbers of a post, of svm, neighbours (300)")
    p.add_argument("--rounds", type=int, default=3, metavar="N", help="pairs of runs (3)")
    p.add_argument("--out", type=Path, metavar="FILE", help="write the JSON document there as well")


def run(args: argparse.Namespace) -> shared.Said:
    """Measure, and show the table."""
    from jaxtag.bench import estimators
    from jaxtag.files import write_json

    setup = estimators.Setup(args.posts, args.tests, args.words, args.hashtags, args.features, args.rounds)
    found = estimators.bench(args.names, setup)
    if args.out:
        write_json(args.out, found)
    return found, estimators.render(found)
