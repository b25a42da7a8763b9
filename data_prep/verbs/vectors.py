"""`jaxtag-prep vectors`: word vectors for a split."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtag.errors import JaxtagError

from .making import workers_of

SUMMARY = "Word vectors for a split, and from them its hashtags' vectors: by word2vec or fastText, or from a file."
EXAMPLES = """\
  jaxtag-prep vectors --data data/mine
  jaxtag-prep vectors --data data/mine --split top50 --setting transductive --dim 300 --epochs 10
  jaxtag-prep vectors --data data/mine --split zero --window 10 --name wide     for ranking unseen hashtags
  jaxtag-prep vectors --data data/mine --file glove.twitter.27B.200d.txt.gz --name glove
  jaxtag-prep vectors --data data/mine --workers 2     faster, but no two runs alike

inductive reads no text of a validation or test post, nor of a post with a hashtag that is a candidate but
unseen in training, and no hashtags; transductive reads every text, hashtags left in, as the papers do.
Training gives each word an input and an output vector, and both are kept; a file gives input vectors
alone. fasttext is skipgram over words and their character n-grams, which give any word a vector. A window
of 10 rather than 5 ranked unseen hashtags better in our measurements.
A file is word2vec text or binary, GloVe text, or fastText .vec or .bin, plain or .gz, told by its content.
"""
_TRAINING = ("setting", "model", "dim", "epochs", "window", "min_count", "seed")
_GIVEN = ("most_words", "max_bad")
SHOWN = 10  # hashtags without a vector that are named


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="dataset folder")
    add("--split", default="", metavar="NAME", help="the split (default: default)")
    add("--name", default="", help="of the vectors (default: the setting; of a file, pretrained)")
    add("--setting", choices=("inductive", "transductive"), help="which texts (default inductive)")
    add("--model", choices=("skipgram", "cbow", "fasttext"), help="default skipgram")
    add("--dim", type=int, help="numbers of a vector (default 150)")
    add("--epochs", type=int, help="times through the texts (default 5)")
    add("--window", type=int, help="words on each side (default 5; 10 is better for hashtags)")
    add("--min-count", type=int, help="occurrences that a word needs (default 2)")
    add("--seed", type=int, help="default 0")
    add("--workers", type=int, default=1, help="threads; with more than 1 no two runs are alike (default 1)")
    add("--file", type=Path, help="take the vectors from a file instead")
    add("--most-words", type=int, metavar="N", help="words of a file to keep beside the dataset's (default 1000000)")
    add("--max-bad", type=float, metavar="F", help="the largest fraction of bad lines in a file (default 0.01)")


def run(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Train the vectors, or take them from a file.

    Raises:
      JaxtagError: no such dataset or split, an option is impossible, no word is frequent enough, or the file is bad.
    """
    from .. import word_vectors

    data, split, name = arguments["data"], arguments["split"], arguments["name"]
    training = {key: arguments[key] for key in _TRAINING if arguments[key] is not None}
    given = {key: arguments[key] for key in _GIVEN if arguments[key] is not None}
    for key in training if arguments["file"] else given:
        what = "is of training, and --file gives trained vectors" if arguments["file"] else "needs --file"
        raise JaxtagError(f"--{key.replace('_', '-')} {what}", "leave one of them out")
    if arguments["file"]:
        info = word_vectors.load(data, split, arguments["file"], name, **given)
    else:
        info = word_vectors.make(data, split, word_vectors.Training(**training), workers_of(arguments), name)
    said = {key: value for key, value in info.items() if key not in ("files", "format")}
    without = said["hashtags_without"]
    more = len(without) - SHOWN
    said["hashtags_without"] = without[:SHOWN] + ([f"and {more} more, listed in vectors.json"] if more > 0 else [])
    return said


def render(result: Mapping[str, Any]) -> str:
    """The vectors as lines for a reader."""
    from jaxtag.data.show import hashtags_text

    lines = [f"word vectors: {result.get('model', result['setting'])}, {result['dim']:,} dimensions"]
    if "file" in result:
        file, bad = result["file"], result["bad_lines"]
        lines.append(
            f"file: {file['name']}, {file['kind']}: {result['read']:,} words read, {result['kept']:,} kept, "
            f"{result['bad']:,} bad"
        )
        lines += [f"  {unit} {place}: {reason}" for (unit, place), (_, reason) in (row.items() for row in bad)]
        more = result["bad"] - len(bad)
        lines += [f"  and {more:,} more"] if more > 0 else []
    else:
        lines.append(f"trained: {result['setting']}, {result['trained']:,} words, input and output vectors")
    lines += [
        f"words of the split: {result['words']:,}, {result['words_without']:,} without, "
        f"{result['words_by_subwords']:,} by subwords",
        f"hashtags: {hashtags_text(result['hashtags'])}",
    ]
    if result["hashtags_without"]:
        lines.append(f"without: {', '.join(result['hashtags_without'])}")
    return "\n".join([*lines, f"seconds: {result['seconds']}"])
