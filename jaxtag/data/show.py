"""A dataset's description as text for a terminal of 100 columns."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jaxtag.data.dataset import PARTS

WIDTH = 100


def render(found: Mapping[str, Any]) -> str:
    """What `jaxtag.data.inspect.describe` found, as text."""
    lines = [
        f"{found['name']}: {found['posts']:,} posts, {found['words']:,} words, {found['hashtags']:,} hashtags",
        f"preset {found['preset']}, fingerprint {found['fingerprint']}",
        "",
        "where the posts went",
        *_funnel(found["funnel"]),
        *(f"{count:>14,}  note: {note}" for note, count in found["notes"].items()),
        "",
        "statistics",
        *statistics_lines(found["statistics"]),
        *_field("most used", "  ".join(f"{hashtag} {count:,}" for hashtag, count in found["most_used"])),
        *(_field("WordPieces", f"{found['wordpieces']:,}") if found["wordpieces"] else []),
        *_images(found["images"]),
        "",
        "columns",
    ]
    for name, meaning in found["columns"].items():
        lines += _field(name, meaning)
    return "\n".join([*lines, *splits_lines(found["splits"])])


def shapes_text(shapes: Mapping[str, Sequence[int]]) -> str:
    """What an image's features are, in short."""
    said = {"vector": "vector of {}", "grid": "grid of {} x {}", "pixels": "pictures of {} x {}"}
    said["regions"] = "up to {} regions of {}"  # which say all of their boxes and their count
    return ", ".join(said[kind].format(*shape) for kind, shape in shapes.items() if kind in said)


def _images(has: Mapping[str, Any]) -> list[str]:
    """Images and their features as lines."""
    if not has:
        return []
    lines = _field("images", f"{has['images']:,} distinct ones in {has['posts']:,} posts")
    if has["unreadable"]:
        lines += _field("", f"{has['unreadable']:,} cannot be used, listed in images/unreadable.jsonl")
    for features in has["extractors"]:
        said = [shapes_text(features["shapes"])]
        if "layers" in features and features["layers"]:
            said.append("of " + ", ".join(features["layers"]))
        said += [f"weights {features['weights']}"] if "weights" in features else []
        said += [f"from {features['source']['name']}"] if "source" in features else []
        without = features["images_without"]
        said += [f"{without:,} images without"] if without else []
        lines += _field("", f"{features['name']}: {', '.join(said)}")
    return lines if has["extractors"] else [*lines, *_field("", "no features yet: jaxtag-prep images")]


def statistics_lines(has: Mapping[str, Any]) -> list[str]:
    """What `jaxtag.data.inspect.statistics` found, as lines."""
    tagged, posts = has["posts_with_hashtag"], has["posts"]
    rungs = ", ".join(f"{count:,} with {n} posts or more" for n, count in has["hashtags_with_posts"].items())
    bars = ", ".join(f"{n}: {count:,}" for n, count in has["hashtags_in_posts"].items())
    lines = [
        *_field("posts", f"{has['posts_read']:,} read, {posts:,} cleaned"),
        *_field("with a hashtag", f"{tagged:,} ({_share(tagged, posts)}), {has['posts_with_several']:,} with several"),
        *_field("hashtags", f"{has['hashtags']:,}; {rungs}"),
        *_field("a post has", f"hashtags: {has['hashtags_per_post']} on average where any ({bars})"),
        *_field("", f"words: {_spread(has['words_per_post'])}"),
    ]
    if "authors" in has:
        lines += _field("authors", f"{has['authors']:,}; posts of one: {_spread(has['posts_per_author'])}")
        if has["posts_without_author"]:
            lines += _field("", f"{has['posts_without_author']:,} posts name none")
    if "posts_with_history" in has:
        lines += _field("history", f"{has['posts_with_history']:,} posts have an earlier one of their author")
    return lines + (_field("time", f"{_day(has['time'][0])} to {_day(has['time'][1])}") if "time" in has else [])


def splits_lines(splits: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Splits by name as lines, each after an empty one; a funnel is shown once (folds have the same)."""
    lines, shown = [], {}
    for name, split in splits.items():
        same = shown.setdefault(json.dumps(split["funnel"]), name)
        lines += ["", f"split {name} ({split['fingerprint']})", *_split_lines(split, "" if same == name else same)]
    return lines


def _split_lines(split: Mapping[str, Any], same: str) -> list[str]:
    """A split, from its split.json or its description by `jaxtag.data.inspect`; `same` is one with its funnel."""
    counts = split["counts"]
    parts = ", ".join(f"{counts[part]:,} {part}" for part in PARTS if part in counts)
    known = f"{counts['hashtags']:,} trained on, {counts['candidates']:,} candidates" if "hashtags" in counts else ""
    lines = [*_field("rule", split.get("summary", "")), *_field("posts", parts), *_field("hashtags", known)]
    if "words" in counts:
        lines += _field("words", f"{counts['words']:,} known")
    lines += _examples(split.get("statistics", {}))
    for kind in ("seen", "unseen"):
        if kind in split:
            lines += _field(kind, f"{len(split[kind]):,}: " + _names(split[kind]))
    if "borders" in split:
        lines += _field("borders", ", ".join(f"{part} from {_second(at)}" for part, at in split["borders"].items()))
    lines += _field("funnel", f"as of split {same}") if same else _funnel(split["funnel"])
    lines += audit_lines(split.get("audit", {}))
    for n, vectors in enumerate(split.get("vectors", [])):
        lines += _field("" if n else "vectors", _vectors(vectors))
    for topics in split.get("topics", []):
        lines += _field("topics", topics_text(topics))
    return lines


def audit_lines(audit: Mapping[str, Any]) -> list[str]:
    """A leakage audit as lines."""
    if not audit:
        return []
    untrained = audit["untrained_hashtags"]
    near = {
        f"near-copies in training, {n['likeness']}": f"{_counted(n['of_test'])} of test, "
        f"{_counted(n['of_validation'])} of validation"
        for n in audit["near_copies"]
    }
    first = f": {_names(untrained['first'], untrained['count'])}" if untrained["count"] else ""
    found = near | {
        "hashtags left in text": f"{audit['hashtags_in_text']}",
        "own hashtag as a word": f"{_counted(audit['hashtag_as_word'])} of test",
        "candidates never trained on": f"{untrained['count']:,} of those tested{first}",
    }
    if "uses_of_unseen_in_training" in audit:
        found["unseen in training"] = f"{audit['uses_of_unseen_in_training']:,} uses"
    if "authors" in audit:
        authors = audit["authors"]
        found["authors who train"] = (
            f"{_counted(authors['test_posts'])} of test, authors in both: {authors['in_train_and_test']:,}"
        )
    if "history" in audit:
        history = audit["history"]
        found["history reaching forward"] = f"{history['not_earlier']}"
        found["held-out posts in history"] = f"{_counted(history['test_posts_that_hold_held_out'])} of test"
    if "time" in audit:
        time = audit["time"]
        found["older than some training"] = f"{_counted(time['test_posts_not_later'])} of test"
        found |= {f"  {p}": f"{_day(time[p][0])} to {_day(time[p][1])}" for p in PARTS if p in time}
    return ["  leakage", *(line for name, text in found.items() for line in _field(name, text, 4, 28))]


def _examples(has: Mapping[str, Any]) -> list[str]:
    if not has:
        return []
    authors = f"{has['authors']:,} authors, " if "authors" in has else ""
    several = f"{has['posts_with_several']:,} with several"
    return [
        *_field("examples", f"{has['posts']:,} posts, {authors}{has['hashtags_per_post']} hashtags a post ({several})"),
        *_field("", f"words: {_spread(has['words_per_post'])}"),
    ]


def _funnel(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Steps with the posts left; those that only keep posts from being examples are indented."""
    return [
        line
        for row in rows
        for line in textwrap.wrap(
            f"{row['posts']:>14,}  {'examples: ' if row.get('examples') else ''}{row['step']}",
            WIDTH,
            subsequent_indent=" " * 16,
        )
    ]


def _field(name: str, value: str, indent: int = 2, width: int = 14) -> list[str]:
    """A name and a value, the value's lines below each other."""
    lines = textwrap.wrap(value, WIDTH - indent - width - 2, break_on_hyphens=False) or [""]
    return [f"{'':{indent}}{name if n == 0 else '':<{width}}  {line}" for n, line in enumerate(lines)]


def topics_text(info: Mapping[str, Any]) -> str:
    """What topics.json says, in short."""
    prior = ", ".join(f"{name} {info[name]:g}" for name in ("alpha", "eta") if info[name])
    passes = f"{info['passes']} pass{'es' * (info['passes'] != 1)}, {prior + ', ' * bool(prior)}seed {info['seed']}"
    return f"{info['topics']:,} of {info['words']:,} words, fitted to {info['posts']:,} training posts ({passes})"


def hashtags_text(counts: Mapping[str, int]) -> str:
    """How many hashtags got their word vector in which way."""
    said = {"own": "by their own vector", "word": "by the same word", "none": "without"}
    return ", ".join(f"{many:,} {said.get(how, f'by {how}')}" for how, many in counts.items() if many) or "none"


def _vectors(info: Mapping[str, Any]) -> str:
    kind = [f"{info[key]}" for key in ("setting", "model") if key in info and info[key] != info["name"]]
    kind += [f"{info['dim']} dimensions"] if "dim" in info else []
    kind += ["input and output" if info["output"] else "no output vectors"]
    kind += [f"{info['words_without']:,} words without"] if "words_without" in info else []
    return f"{info['name']}: {', '.join(kind)}" + (
        f"; hashtags: {hashtags_text(info['hashtags'])}" if "hashtags" in info else ""
    )


def _names(names: Sequence[str], of: int = 0) -> str:
    more = max(of, len(names)) - min(len(names), 20)
    return " ".join(f"#{name}" for name in names[:20]) + (f" and {more:,} more" if more > 0 else "")


def _spread(has: Mapping[str, float]) -> str:
    """Mean and quantiles in short."""
    if len(has) == 1:
        return "none"
    return f"{has['mean']} on average, {has['50%']:,} in the middle, 95% up to {has['95%']:,}, at most {has['100%']:,}"


def _counted(found: Mapping[str, Any]) -> str:
    return f"{found['posts']:,} ({found['share']:.1%})"


def _share(part: int, whole: int) -> str:
    return f"{part / max(whole, 1):.1%}"


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
