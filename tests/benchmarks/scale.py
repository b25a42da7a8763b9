"""What preparing posts by the million costs: seconds by stage, the peak memory of all processes, and disk.

    python tests/benchmarks/scale.py --posts 1000000 5000000 --out SCRATCH

For each number of posts: `jaxtag-prep simulate`, then the same posts as a file through `jaxtag-prep posts`, as a user's
would be: authors, times, hashtags in the text, duplicates, histories, a split. With --train, one epoch of a recipe on
what came of it. Prints a table, and JSON with --json. Memory is the sum of what every process of the tree has resident,
sampled five times a second: pages that processes share count for each of them. What was made is deleted.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxtag.data import simulate

STAGES = (  # what is there at the end of each
    ("reading and cleaning", "records/metadata.json"),
    ("packing", "dataset.json"),
    ("splitting", "splits/default/split.json"),
)
SAMPLED = 0.2  # seconds


def tree(root: int) -> Iterator[int]:
    """The process `root` and all below it."""
    waiting = [root]
    while waiting:
        process = waiting.pop()
        yield process
        try:
            for thread in os.listdir(f"/proc/{process}/task"):
                waiting += map(int, Path(f"/proc/{process}/task/{thread}/children").read_text().split())
        except OSError:
            continue  # it has ended


def resident(root: int) -> int:
    """Bytes that the processes of a tree have in memory."""
    pages = 0
    for process in tree(root):
        try:
            pages += int(Path(f"/proc/{process}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
    return pages * os.sysconf("SC_PAGE_SIZE")


def on_disk(folder: Path) -> int:
    """Bytes that the files below a folder take."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_blocks * 512
            except OSError:
                continue
    return total


def measured(command: Sequence[str], folder: Path) -> dict[str, Any]:
    """Run a command: seconds by the clock and of processors, peaks of memory and of disk below `folder`, its output."""
    started, began, before = time.monotonic(), time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    memory = disk = samples = 0
    with tempfile.TemporaryFile("w+") as file:
        process = subprocess.Popen(command, stdout=file)
        while process.poll() is None:
            memory = max(memory, resident(process.pid))
            if samples % 25 == 0:
                disk = max(disk, on_disk(folder))
            samples += 1
            time.sleep(SAMPLED)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        file.seek(0)
        printed = file.read()
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    disk = max(disk, on_disk(folder))
    return {"seconds": seconds, "cpu": cpu, "began": began, "memory": memory, "disk": disk, "said": printed}


def prepare(verb: Sequence[str], posts: int, folder: Path) -> dict[str, Any]:
    """What a verb of jaxtag-prep costs that makes `folder`/data of so many posts."""
    out = folder / "data"
    command = [sys.executable, "-m", "jaxtag_prep.cli", *verb, "--out", str(out), "--json"]
    found = measured(command, folder)
    info, before = json.loads(found.pop("said")), found.pop("began")
    for name, file in STAGES:
        ended = (out / file).stat().st_mtime
        found[name], before = ended - before, ended
    kept = {"kept": info["posts"], "examples": sum(info["split"][part] for part in ("train", "validation", "test"))}
    return {"posts": posts, "what": verb[0], "posts/s": posts / found["seconds"]} | kept | found


def write_source(path: Path, posts: int) -> float:
    """Simulated posts as JSON lines, or as CSV by the name of `path`; the seconds it took."""
    import csv

    started = time.monotonic()
    names = ("id", "author", "time", "text")
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file) if path.suffix == ".csv" else None
        if table:
            table.writerow(names)
        for post in simulate.posts(posts):
            row = (post.id, post.author, post.time, post.text)
            table.writerow(row) if table else file.write(json.dumps(dict(zip(names, row)), ensure_ascii=False) + "\n")
    return time.monotonic() - started


def train(recipe: str, posts: int, folder: Path) -> dict[str, Any]:
    """What an epoch of a recipe costs on `folder`/data."""
    options = ["--size", "tiny", "--training.epochs", "1", "--json"]
    options += ["--data", str(folder / "data"), "--run", str(folder / "run")]
    found = measured([sys.executable, "-m", "jaxtag.cli", "train", recipe, *options], folder)
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    del found["said"], found["began"]
    shutil.rmtree(folder / "run")
    return {
        "posts": posts,
        "what": f"train {recipe}",
        "posts/s": posts / found["seconds"],
        "logged": len(lines),
    } | found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows for a reader."""
    lines = [
        "| posts | what | seconds | CPU | reading and cleaning | packing | splitting | posts/s | peak MiB | disk MiB |"
    ]
    lines.append("|---:|---|" + "---:|" * 8)
    for row in rows:
        stages = " | ".join(f"{row[name]:.0f}" if name in row else "–" for name, _ in STAGES)
        sizes = f"{row['memory'] / 2**20:,.0f} | {row['disk'] / 2**20:,.0f}"
        lines.append(
            f"| {row['posts']:,} | {row['what']} | {row['seconds']:.0f} | {row['cpu']:.0f} | {stages} "
            f"| {row['posts/s']:,.0f} | {sizes} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure every number of posts, smaller ones first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=int, nargs="+", default=[1_000_000, 5_000_000])
    parser.add_argument("--out", type=Path, required=True, help="folder to work in; made, and deleted at the end")
    parser.add_argument("--workers", default="1", help="of jaxtag-prep (default 1)")
    parser.add_argument(
        "--formats", nargs="*", default=["jsonl"], choices=("jsonl", "csv"), help="of the file of posts"
    )
    parser.add_argument("--no-simulate", action="store_true", help="leave out jaxtag-prep simulate")
    parser.add_argument(
        "--train", metavar="RECIPE", help="an epoch of it at the size tiny on what jaxtag-prep posts made"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    try:
        for posts in sorted(arguments.posts):
            rows += of(posts, arguments)
    finally:
        shutil.rmtree(arguments.out)
    print(json.dumps(rows) if arguments.json else table(rows))


def of(posts: int, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The rows of one number of posts, told as they come."""

    def told(row: dict[str, Any]) -> dict[str, Any]:
        print(json.dumps(row), file=sys.stderr, flush=True)
        return row

    folder, how = arguments.out, ["--workers", arguments.workers]
    if not arguments.no_simulate:
        yield told(prepare(["simulate", "--posts", str(posts), *how], posts, folder))
        shutil.rmtree(folder / "data")
    for form in arguments.formats:
        path = folder / f"posts.{form}"
        seconds = write_source(path, posts)
        size = path.stat().st_size
        columns = ["--text", "text", "--author", "author", "--time", "time", "--id", "id"]
        row = prepare(["posts", "--input", str(path), *columns, *how], posts, folder)
        yield told(row | {"what": f"posts, {form}", "source": size, "written in": seconds})
        if arguments.train:
            yield told(train(arguments.train, posts, folder))
        shutil.rmtree(folder / "data")
        path.unlink()


if __name__ == "__main__":
    main()
