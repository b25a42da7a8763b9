"""The lxmert4hashtag paper's tables and figures as Markdown and as a page: ours beside the paper's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtag.report import looks, plots
from jaxtag.report.document import Block, Heading, Paragraph, Picture, Table
from jaxtag.report.tables import Strong
from jaxtag.reproduce.lxmert4hashtag_examples import examples, looked
from jaxtag.reproduce.lxmert4hashtag_paper import ABSTRACT, AT_5, METRICS
from jaxtag.reproduce.lxmert4hashtag_work import Work
from jaxtag.reproduce.paper import BASELINES

NAMES = {
    "tweet_embedding": "TweetEmbd_Net", "amnn": "AMNN", "tab_lstm": "TAB_LSTM", "lstm_cnn": "Con(LSTM_CNN)",
    "coattention": "CoA", "lxmert": "LXMERT4Hashtag", **BASELINES,
}  # fmt: skip
TITLES = dict(zip(METRICS, ("P@2", "R@2", "F1@2")))
TITLES_5 = dict(zip(AT_5, ("P@5", "R@5", "F1@5")))


def settings(found: Mapping[str, Any]) -> str:
    """On what, at which size, over how many seeds, and which features stand for which."""
    p = found["protocol"]
    seeds = f", {p['seeds']} seeds" if p["seeds"] > 1 else ""
    others = [f"{name} for {role}" for role, name in p["extractors"].items() if name != role]
    said = f" Image features of other names: {', '.join(others)}." if others else ""
    vectors = f"from {p['vectors']}" if p["vectors"] else f"of {p['dim']} numbers, trained on the training posts"
    return (
        f"Dataset {found['dataset']['name']}, split {p['split']}; recipes of size {found['size']}{seeds}.{said} "
        f"TweetEmbd_Net's word vectors are {vectors}."
    )


def table_2(table: Mapping[str, Any]) -> list[Block]:
    """What was collected beside the paper's, and how many posts were left after each step."""
    return [
        Heading("Table 2: the posts"),
        Paragraph("The paper counts what was collected, and does not say what its eight steps leave."),
        Table(table["rows"], {"what": "", "ours": "ours", "paper": "the paper's"}),
        Paragraph(
            f"The dataset's preset is {table['preset']}; its split: {table['split']}. How many posts were left after "
            "each step, and in the split after its own:"
        ),
        Table(table["funnel"], ["step", "posts"]),
    ]


def table_3(table: Mapping[str, Any]) -> list[Block]:
    """Every system, in the paper's order, and the built-in baselines."""
    columns = {"system": "system", "features": "image features"} | TITLES
    columns |= {f"paper {m}": f"the paper's {title}" for m, title in TITLES.items()}
    left = [row for row in table["rows"] if "absent" in row]
    return [
        Heading("Table 3: all systems, two hashtags recommended"),
        Paragraph(
            f"Over {table['posts']:,} test posts and {table['hashtags']:,} hashtags; the best of ours bold. Built-in "
            "baselines, which the paper does not have, are last."
        ),
        Table(_rows(table["rows"], METRICS, "paper"), columns),
        *(Paragraph(f"{NAMES[row['system']]} is left out: {row['absent']}.") for row in left),
    ]


def figures(work: Work, made: Mapping[str, Any]) -> list[Block]:
    """Fig. 3, every system against the number of hashtags recommended, and Fig. 4, posts with what each recommends."""
    table = made["tables"].get("3", {"absent": "Table 3 was not asked for"})
    rows = [row for row in table.get("rows", ()) if "absent" not in row]
    if not rows:
        why = table.get("absent", "no system could be run")
        return [block for n in (3, 4) for block in (Heading(f"Fig. {n}"), Paragraph(f"Left out: {why}."))]
    systems = {NAMES[row["system"]]: {m: v["mean"] for m, v in row.items() if "@" in m} for row in rows}
    path = plots.against_k(systems, [b for b in BASELINES.values() if b in systems], work.out / "against-k.png")
    runs = {
        row["system"]: work.out / "table-3" / row["system"] / "seed-0" / "fold-0"
        for row in rows
        if row["system"] not in BASELINES
    }
    at_5 = [row | {"abstract": ABSTRACT[row["system"]]} for row in rows if row["system"] in ABSTRACT]
    columns = {"system": "system"} | TITLES_5 | {f"paper {m}": f"the paper's {t}" for m, t in TITLES_5.items()}
    said = "Accuracy, precision, recall and F1 against the hashtags recommended."
    return [
        Heading("Fig. 3: more hashtags recommended"),
        Picture(path, said),
        *([Paragraph("Of five hashtags, the paper's abstract gives numbers:")] if at_5 else []),
        *([Table(_rows(at_5, AT_5, "abstract"), columns)] if at_5 else []),
        *_figure_4(work, runs),
    ]


def _figure_4(work: Work, runs: dict[str, Path]) -> list[Block]:
    """Posts, what each system recommends, and which regions LXMERT looked at."""
    shown = examples(work, runs)
    rows = []
    for number, post in enumerate(shown, 1):
        rows.append({"post": f"post {number}", "who": "the post", "what": post["post"]})
        rows.append({"post": "", "who": "its hashtags", "what": _tags(post["hashtags"])})
        for system, found in post["systems"].items():
            rows.append({"post": "", "who": NAMES[system], "what": _tags(found, post["hashtags"])})
    blocks: list[Block] = [
        Heading("Fig. 4: what is recommended"),
        Paragraph("Test posts, evenly spaced; of each system the first five hashtags, those that are right ticked."),
        Table(rows, {"post": "", "who": "", "what": ""}),
    ]
    images = looked(work, runs["lxmert"], [post["row"] for post in shown]) if "lxmert" in runs else []
    if not images:
        return [*blocks, Paragraph("No regions are drawn: LXMERT was not run, or these posts have none.")]
    said = (
        "Which regions [CLS] reads in LXMERT's last cross-modal layer: the three that weigh most, with their shares, "
        "the others as thin lines. An image whose file is not at hand is an empty canvas."
    )
    return [*blocks, Picture(looks.regions(images, work.out / "regions.png"), said)]


def _tags(names: list[str], right: list[str] | None = None) -> str:
    """Hashtags on a line, those that are right ticked."""
    return "  ".join(f"#{name} ✓" if right and name in right else f"#{name}" for name in names)


def _rows(rows: list[Mapping[str, Any]], metrics: tuple[str, ...], paper: str) -> list[dict[str, Any]]:
    """A page's rows: what they are, ours with the best bold, the paper's."""
    there = [row for row in rows if "absent" not in row]
    best = {m: max((row[m]["mean"] for row in there if m in row), default=0.0) for m in metrics}
    found = []
    for row in rows:
        cells: dict[str, Any] = {"system": NAMES[row["system"]], "features": row.get("features", "")}
        for m in metrics if "absent" not in row else ():
            if m in row:
                mean, spread = row[m]["mean"], row[m]["spread"]
                said = f"{mean:.3f} ± {spread:.3f}" if row.get("seeds", 1) > 1 else f"{mean:.3f}"
                cells[m] = Strong(said) if mean == best[m] else said
        found.append(cells | {f"paper {m}": f"{v:.3f}" for m, v in zip(metrics, row.get(paper, ()))})
    return found


SECTIONS = {"2": table_2, "3": table_3}
