"""A small source of posts and the command that prepares it, shared by the tests of jaxtag-prep."""

import json
import random
from pathlib import Path
from typing import Any

WORDS = ["sun", "moon", "rain", "snow", "wind", "storm", "cloud", "sky", "river", "sea", "hill", "the", "is", "a"]


def posts(count: int = 300, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of a source: near-copies, reposts, two languages, posts without hashtags."""
    rng = random.Random(seed)
    rows = []
    for i in range(count):
        words = rng.choices(WORDS, k=rng.randint(3, 9))
        tags = rng.sample(["#Red", "#green", "#Blue", f"#rare{i % 40}"], rng.randint(0, 2))
        text = " ".join([*words, *tags]) + (" https://t.co/x" if i % 5 == 0 else "")
        if i % 10 == 9:
            text = str(rows[-1]["text"]).upper()
        kind = "R" if i % 13 == 0 else ""
        language = "German" if i % 11 == 0 else "English"
        rows.append({"text": text, "who": f"u{i % 7}", "when": 1_500_000_000 + i // 3, "lang": language, "kind": kind})
    return rows


def source(folder: Path, rows: list[dict[str, Any]] | None = None) -> Path:
    path = folder / "posts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows or posts()))
    return path


def arguments(file: Path, out: Path, *more: str) -> list[str]:
    columns = ["--text", "text", "--author", "who", "--time", "when", "--language", "lang", "--repost", "kind=R"]
    chosen = ["--language-is", "English", "--min-words", "4", "--min-hashtag-posts", "8", "--workers", "1"]
    return ["posts", "--input", str(file), "--out", str(out), *columns, *chosen, *more]


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
