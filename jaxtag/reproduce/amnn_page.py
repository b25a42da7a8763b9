"""The amnn paper's tables and figures as Markdown and as a page: ours beside the paper's."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtag.report import plots
from jaxtag.report.document import Block, Heading, Paragraph, Picture, Table
from jaxtag.report.tables import Strong
from jaxtag.reproduce.amnn_paper import METRICS, NAMES
from jaxtag.reproduce.amnn_work import Work
from jaxtag.reproduce.paper import BASELINES

SYSTEMS = {
    "mlknn": "ML-kNN", "svm": "SVM", "neighbour_voting": "Neighbour voting",
    "multilabel_resnet": "ResNet-50, multilabel", "coattention": "Co-Attention",
    "vgg_object_scene": "VGG-Object + VGG-Scene", "nic": "NIC", "show_attend_tell": "Show, Attend and Tell",
    "amnn_image": "AMNN", "amnn": "AMNN", "amnn_text": "AMNN", **BASELINES,
}  # fmt: skip
READS = {
    "mlknn": "text", "amnn_text": "text", "svm": "both", "coattention": "both", "amnn": "both",
    **dict.fromkeys(
        ("neighbour_voting", "multilabel_resnet", "vgg_object_scene", "nic", "show_attend_tell", "amnn_image"), "image"
    ),
}  # fmt: skip
IMAGES = {"inception_v3": "Inception-V3", "resnet50": "ResNet-50", "vgg16": "VGG-16", "vgg16_places": "VGG-16 Places"}
VECTORS = {"glove": "GloVe", "word2vec": "word2vec", "fasttext": "fastText"}
COUNTED = {
    "labels": "hashtags that are kept", "posts": "posts", "images": "images", "hashtags": "uses of hashtags",
    "mean": "hashtags a post", "least": "fewest", "most": "most",
}  # fmt: skip
WORDS = {
    "words": "words", "distinct": "distinct words", "mean": "words a post", "least": "fewest", "most": "most",
}  # fmt: skip
TITLES = dict(zip(METRICS, ("P@1", "R@5", "Acc@5")))
# Fig. 4 leaves out what the paper does: two for low values, one for short lists.
NOT_DRAWN = ("mlknn", "svm", "show_attend_tell")


def settings(found: Mapping[str, Any]) -> str:
    """On what, at which size, and over how many seeds."""
    p = found["protocol"]
    on = [f"{NAMES[n]} is {found['datasets'][n]['name']}, split {split}" for n, split in p["splits"].items()]
    seeds = f", {p['seeds']} seeds" if p["seeds"] > 1 else ""
    others = [f"{name} for {IMAGES[role]}" for role, name in p["extractors"].items() if name != role]
    said = f" Image features of other names: {', '.join(others)}." if others else ""
    return (
        f"{'; '.join(on)}. Recipes of size {found['size']}{seeds}.{said} Scores are in per cent: precision of the "
        "first hashtag, recall and accuracy of five, the cut-offs that fit the paper's numbers; all from 1 to 5 are in "
        "amnn.json."
    )


def table_2(table: Mapping[str, Any]) -> list[Block]:
    """What is counted of each dataset."""
    rows = []
    splits = ", ".join(f"split {row['split']} of {NAMES[row['dataset']]}" for row in table["rows"] if "split" in row)
    for row in table["rows"]:
        for whose, values in (("ours", row.get("ours")), ("the paper's", row["paper"])):
            if values:
                counted = values | {"mean": f"{values['mean']:.2f}"}
                rows.append({"dataset": NAMES[row["dataset"]], "whose": whose, **counted})
    return [
        Heading("Table II: the datasets"),
        Paragraph(f"Over all posts of {splits}. The paper counts images, a post each."),
        Table(rows, {"dataset": "dataset", "whose": ""} | COUNTED),
        *_not_given(table["rows"]),
    ]


def table_6(table: Mapping[str, Any]) -> list[Block]:
    """The words of the posts with text and image."""
    shown = [{k: f"{v:.2f}" if k == "mean" else v for k, v in table[whose].items()} for whose in ("ours", "paper")]
    rows = [{"what": said, "ours": shown[0][key], "paper": shown[1][key]} for key, said in WORDS.items()]
    return [
        Heading("Table VI: the texts of MM-INS"),
        Paragraph(
            f"Over all posts of split {table['split']}, words of low frequency left out: those that it does not know. "
            f"With them there are {table['all_words']:,} words."
        ),
        Table(rows, {"what": "", "ours": "ours", "paper": "the paper's"}),
    ]


def systems(heading: str, table: Mapping[str, Any]) -> list[Block]:
    """Every system on one dataset, in the paper's order, and the built-in baselines."""
    errata = [f"{SYSTEMS[row['system']]}: {row['erratum']}." for row in table["rows"] if "erratum" in row]
    said = f"Over {table['posts']:,} test posts and {table['hashtags']:,} hashtags; the best of ours bold."
    if any(row["system"] == "amnn_text" for row in table["rows"]):
        said += " AMNN of the text alone is in the paper's Fig. 4 only."
    if errata:
        said += f" Printed numbers that cannot be: {' '.join(errata)}"
    columns = {"system": "system", "reads": "reads", "features": "image features"} | _columns()
    return [
        Heading(heading),
        Paragraph(said + " Built-in baselines, which the paper does not have, are last."),
        Table(_rows(table["rows"], _system), columns),
        *_counted(table["rows"]),
        *_left(table["rows"]),
    ]


def table_7(table: Mapping[str, Any]) -> list[Block]:
    """Text features: learned, and of fixed word vectors."""

    def text(row: Mapping[str, Any]) -> dict[str, Any]:
        if "vectors" not in row:
            return {"text": "learned", "layer": "yes"}
        source = f", {row['source']}" if "source" in row else ""
        return {"text": VECTORS[row["vectors"]] + source, "layer": "yes" if row["recurrent"] else "no: their mean"}

    return [
        Heading("Table VII: fixed word vectors"),
        Paragraph(
            "AMNN with ResNet-50 of text and image. The paper does not say whether the recurrent layer reads the fixed "
            "vectors; its authors' code has it do so, and the paper's numbers stand there."
        ),
        Table(_rows(table["rows"], text), {"text": "word vectors", "layer": "recurrent layer"} | _columns()),
        *_left(table["rows"], _text),
    ]


def shuffled(number: str, table: Mapping[str, Any]) -> list[Block]:
    """AMNN on every dataset, hashtags in a shuffled order and in their author's."""

    def order(row: Mapping[str, Any]) -> dict[str, Any]:
        return {"dataset": NAMES[row["dataset"]], "order": "shuffled" if row["shuffled"] else "the author's"}

    each = "once" if table["shuffle"] == "once" else "each time that it is learned from"
    return [
        Heading(f"Table {number}: AMNN with {IMAGES[table['images']]}, hashtags shuffled"),
        Paragraph(f"Each training post's hashtags are shuffled {each}; below it, in their author's order."),
        Table(_rows(table["rows"], order), {"dataset": "dataset", "order": "order of hashtags"} | _columns()),
        *_not_given(table["rows"]),
    ]


def figures(work: Work, made: Mapping[str, Any]) -> list[Block]:
    """Fig. 3, hashtags a post, and Fig. 4, every system of MM-INS against the number of hashtags recommended."""
    return _figure_3(work, made["tables"].get("II")) + _figure_4(work, made["tables"].get("V"))


def _figure_3(work: Work, table: Mapping[str, Any] | None) -> list[Block]:
    heading = Heading("Fig. 3: hashtags a post")
    if not table:
        return [heading, Paragraph("Left out: Table II was not asked for.")]
    lengths = {
        NAMES[row["dataset"]]: {int(n): count for n, count in row["lengths"].items()}
        for row in table["rows"]
        if "lengths" in row
    }
    path = plots.shares(lengths, "hashtags a post", "of each dataset's posts", work.out / "hashtags-a-post.png")
    return [heading, Picture(path, "How many of each dataset's posts have how many hashtags that are kept.")]


def _figure_4(work: Work, table: Mapping[str, Any] | None) -> list[Block]:
    heading = Heading("Fig. 4: more hashtags recommended, MM-INS")
    absent = "Table V was not asked for" if table is None else table.get("absent", "")
    if table is None or absent:
        return [heading, Paragraph(f"Left out: {absent}.")]
    rows = [row for row in table["rows"] if "absent" not in row and row["system"] not in NOT_DRAWN]
    drawn: dict[tuple, list[Mapping[str, Any]]] = {}  # rows of the same runs are one line
    for row in rows:
        drawn.setdefault((row["system"], *row.get("features", ())), []).append(row)
    lines = {_named(*same): {m: v["mean"] for m, v in same[0].items() if "@" in m} for same in drawn.values()}
    path = plots.against_k(lines, [b for b in BASELINES.values() if b in lines], work.out / "against-k.png")
    said = (
        "Precision, recall, F1 and accuracy against the hashtags recommended. As in the paper, ML-kNN, SVM and Show, "
        "Attend and Tell are left out."
    )
    return [heading, Picture(path, said)]


def _named(row: Mapping[str, Any], *same: Mapping[str, Any]) -> str:
    """A system, and which of AMNN's it is, perhaps of rows whose runs are the `same`."""
    name = SYSTEMS[row["system"]]
    if not row["system"].startswith("amnn"):
        return name
    reads = {"amnn": "", "amnn_image": ", image", "amnn_text": ", text"}[row["system"]]
    images = [IMAGES[image] for one in (row, *same) for image in one.get("images", ())]
    return f"{name}{reads}" + (f", {' = '.join(images)}" if images else "")


def _system(row: Mapping[str, Any]) -> dict[str, Any]:
    name = SYSTEMS[row["system"]] + (", all posts" if row.get("posts") == "all" else "")
    pairs = zip(row.get("images", ()), row.get("features", ()))
    images = " and ".join(IMAGES[image] + (f" ({own})" if own != image else "") for image, own in pairs)
    return {"system": name, "reads": READS.get(row["system"]), "features": images}


def _text(row: Mapping[str, Any]) -> str:
    return VECTORS[row["vectors"]] if "vectors" in row else SYSTEMS[row["system"]]


def _counted(rows: Sequence[Mapping[str, Any]]) -> list[Block]:
    """Of which posts a row is, where not of all."""
    return [
        Paragraph(f"{SYSTEMS[row['system']]} is scored as in the paper, on test posts with long lists: {row['posts']}.")
        for row in rows
        if row.get("posts", "all") != "all"
    ]


def _left(rows: Sequence[Mapping[str, Any]], named: Any = _named) -> list[Block]:
    """A line for each reason for which rows are left out."""
    by_reason: dict[str, dict[str, None]] = {}
    for row in rows:
        if "absent" in row:
            by_reason.setdefault(row["absent"], {})[named(row)] = None
    return [
        Paragraph(f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} left out: {reason}.")
        for reason, names in by_reason.items()
    ]


def _not_given(rows: Sequence[Mapping[str, Any]]) -> list[Block]:
    return [Paragraph(f"{reason}.") for reason in dict.fromkeys(row["absent"] for row in rows if "absent" in row)]


def _columns() -> dict[str, str]:
    return TITLES | {f"paper {m}": f"the paper's {title}" for m, title in TITLES.items()}


def _rows(rows: Sequence[Mapping[str, Any]], first: Any) -> list[dict[str, Any]]:
    """A page's rows: what they are, ours in per cent with the best bold, the paper's."""
    there = [row for row in rows if "absent" not in row]
    best = {m: max((row[m]["mean"] for row in there if m in row), default=0.0) for m in METRICS}
    found = []
    for row in rows:
        cells: dict[str, Any] = {}
        for m in METRICS if "absent" not in row else ():
            if m in row:
                cells[m] = _percent(row[m], row.get("seeds", 1), row[m]["mean"] == best[m] > 0)
        theirs = {f"paper {m}": f"{v:.2f}" for m, v in zip(METRICS, row.get("paper") or ())}
        found.append(first(row) | cells | theirs)
    return found


def _percent(value: Mapping[str, float], seeds: int, best: bool) -> str:
    said = f"{100 * value['mean']:.2f}" + (f" ± {100 * value['spread']:.2f}" if seeds > 1 else "")
    return Strong(said) if best else said


def _on(dataset: str, number: str) -> Any:
    return lambda table: systems(f"Table {number}: {NAMES[dataset]}", table)


SECTIONS = {
    "II": table_2,
    "III": _on("harrison", "III"),
    "IV": _on("nus_wide", "IV"),
    "V": _on("mm_ins", "V"),
    "VI": table_6,
    "VII": table_7,
    "VIII": lambda table: shuffled("VIII", table),
    "IX": lambda table: shuffled("IX", table),
}
