"""The hmemn2n paper's tables and figure as Markdown and as a page: ours beside the paper's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxtag.report import plots
from jaxtag.report.document import Block, Heading, Paragraph, Picture, Table
from jaxtag.report.tables import Strong
from jaxtag.reproduce.hmemn2n_paper import METRICS
from jaxtag.reproduce.hmemn2n_work import Work
from jaxtag.reproduce.paper import BASELINES

NAMES = {
    "naive_bayes": "NB", "naive_bayes_history": "NB + history", "svm": "SVM", "svm_history": "SVM + history",
    "topical_translation": "TTM", "cnn_attention": "CNN-Attention", "memn2n": "MemN2N", "hmemn2n": "HMemN2N",
    **BASELINES,
}  # fmt: skip
TITLES = dict(zip(METRICS, ("P", "R", "F1")))


def settings(found: Mapping[str, Any]) -> str:
    """On what, at which size, over how many seeds, and what the SVMs' word vectors are."""
    p = found["protocol"]
    seeds = f", {p['seeds']} seeds" if p["seeds"] > 1 else ""
    vectors = f"from {p['vectors']}" if p["vectors"] else f"of {p['dim']} numbers, by CBOW on the training posts"
    return (
        f"Dataset {found['dataset']['name']}, split {p['split']}; recipes of size {found['size']}{seeds}. "
        f"The SVMs' word vectors are {vectors}."
    )


def table_1(table: Mapping[str, Any]) -> list[Block]:
    """The posts beside the paper's, and how many were left after each step."""
    preset = f"The dataset's preset is {table['preset']}; its split: {table['split']}."
    return [
        Heading("Table 1: the posts"),
        Paragraph(
            "The paper's table prints 288,545 posts with hashtags, its text 281,345, which its three parts add up to."
        ),
        Table(table["rows"], {"what": "", "ours": "ours", "paper": "the paper's"}),
        Paragraph(f"{preset} How many posts were left after each step, and in the split after its own:"),
        Table(table["funnel"], ["step", "posts"]),
    ]


def table_2(table: Mapping[str, Any]) -> list[Block]:
    """Every system, in the paper's order, and the built-in baselines."""
    rows = _rows(table["rows"], lambda row: {"system": NAMES.get(row["system"], row["system"])})
    left = [row for row in table["rows"] if "absent" in row]
    said = [Paragraph(f"{NAMES[row['system']]} is left out: {row['absent']}.") for row in left]
    return [
        Heading("Table 2: all systems, one hashtag recommended"),
        Paragraph(
            f"Over {table['posts']:,} test posts and {table['hashtags']:,} hashtags; the best of ours bold. Built-in "
            "baselines, which the paper does not have, are last."
        ),
        Table(rows, {"system": "system"} | _columns()),
        *said,
    ]


def table_3(table: Mapping[str, Any]) -> list[Block]:
    """Numbers of a word vector, and hops."""

    def sizes(row: Mapping[str, Any]) -> dict[str, Any]:
        dim, hops = row["paper_sizes"]
        stands = "" if row["dimensions"] == dim else f" (for {dim})"
        return {"system": NAMES[row["system"]], "dim": f"{row['dimensions']}{stands}", "hops": str(hops or "–")}

    rows = _rows(table["rows"], sizes)
    return [
        Heading("Table 3: dimensions and hops"),
        Paragraph(f"Over {table['posts']:,} test posts, one hashtag recommended; the best of ours bold."),
        Table(rows, {"system": "system", "dim": "dimensions", "hops": "hops"} | _columns()),
    ]


def figures(work: Work, made: Mapping[str, Any]) -> list[Block]:
    """Fig. 2: every system against the number of hashtags recommended."""
    table = made["tables"].get("2", {"absent": "Table 2 was not asked for"})
    if "absent" in table:
        return [Heading("Fig. 2"), Paragraph(f"Left out: {table['absent']}.")]
    systems: dict[str, dict[str, float]] = {
        NAMES.get(row["system"], str(row["system"])): {m: v["mean"] for m, v in row.items() if "@" in m}
        for row in table["rows"]
        if "absent" not in row
    }
    path = plots.against_k(systems, [b for b in BASELINES.values() if b in systems], work.out / "against-k.png")
    said = (
        "Precision, recall, F1 and accuracy (the paper's figure has the first three) against the hashtags recommended."
    )
    return [Heading("Fig. 2: more hashtags recommended"), Picture(path, said)]


def _columns() -> dict[str, str]:
    return TITLES | {f"paper {m}": f"the paper's {title}" for m, title in TITLES.items()}


def _rows(rows: Sequence[Mapping[str, Any]], first: Callable[[Mapping[str, Any]], dict[str, Any]]) -> list[dict]:
    """A page's rows: what they are, ours with the best bold, the paper's."""
    there = [row for row in rows if "absent" not in row]
    best = {m: max((row[m]["mean"] for row in there), default=0.0) for m in METRICS}
    found = []
    for row in rows:
        cells: dict[str, Any] = {}
        for m in METRICS if "absent" not in row else ():
            mean, spread = row[m]["mean"], row[m]["spread"]
            said = f"{mean:.3f} ± {spread:.3f}" if row.get("seeds", 1) > 1 else f"{mean:.3f}"
            cells[m] = Strong(said) if mean == best[m] else said
        theirs = {f"paper {m}": f"{v:.3f}" for m, v in zip(METRICS, row.get("paper", ()))}
        found.append(first(row) | cells | theirs)
    return found


SECTIONS = {"1": table_1, "2": table_2, "3": table_3}
