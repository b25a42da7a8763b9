"""The zsl paper's tables and figures as Markdown and as a page: ours beside the paper's."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxtag.report import datasets
from jaxtag.report.document import Block, Heading, Paragraph, Picture, Table
from jaxtag.report.tables import Strong
from jaxtag.reproduce.paper import BASELINES
from jaxtag.reproduce.zsl_paper import HITS
from jaxtag.reproduce.zsl_splits import vectors_there
from jaxtag.reproduce.zsl_work import Work
from jaxtag.search.space import shown

NAMES = {
    "ann": "ANN", "cnn": "CNN", "rnn": "RNN", "rnn_attention": "RNN with attention", "transformer": "transformer",
    "conse": "ConSE", "eszsl": "ESZSL", "dem": "DEM", "cosine": "cosine (untrained)", "chance": "chance",
    "conse, balanced": "ConSE, balanced *", "eszsl, balanced": "ESZSL, balanced *", "dem, balanced": "DEM, balanced *",
    "eszsl, mean word vectors": "ESZSL on mean word vectors", "cosine, scaled": "cosine, scaled *",
    "eszsl, towards cosine": "ESZSL towards the cosine *",
    **BASELINES,
}  # fmt: skip
NO_FILE = "No file of pretrained word vectors was given: --pretrained FILE adds it to the comparison."
PERCENT = "Percent; ours as mean ± standard deviation over"


def settings(found: Mapping[str, Any]) -> str:
    """On what, at which size, and what zero-shot methods start from."""
    p = found["protocol"]
    cap = f", at most {p['cap']} posts each" if p["cap"] else ""
    return (
        f"Dataset {found['dataset']['name']}; recipes of size {found['size']}; the {p['top']} most used hashtags "
        f"with {p['min_posts']} posts or more{cap}, posts with exactly one of them. Zero-shot methods start from "
        f"{found['encoder']}."
    )


def table_1(table: Mapping[str, Any]) -> list[Block]:
    """The funnel beside the paper's, and our steps."""
    return [
        Heading("Table 1: the posts"),
        Paragraph("The paper counts posts with a hashtag among cleaned ones; ours are counted in the whole dataset."),
        Table(table["rows"], {"what": "", "ours": "ours", "paper": "the paper's"}),
        Paragraph("Where our posts went: how many were left after each step."),
        Table(table["funnel"], ["step", "posts"]),
    ]


def table_2(table: Mapping[str, Any]) -> list[Block]:
    """The supervised systems, best first, baselines last."""
    titles = {"accuracy@1": "accuracy", "precision_micro": "P", "recall_micro": "R", "f1_micro": "F1"}
    titles |= {"f1_macro": "F1 macro", "f1_weighted": "F1 weighted"}
    top = max(row["accuracy@1"]["mean"] for row in table["rows"] if row.get("paper"))
    rows = []
    for row in table["rows"]:
        cells = {m: _percent(row[m]) for m in titles if m in row}
        if row.get("paper"):
            cells["theirs"] = f"{row['paper'][0]:.1f}"
            cells |= {"accuracy@1": Strong(cells["accuracy@1"])} if row["accuracy@1"]["mean"] == top else {}
        rows.append({"system": _called(row["system"]), "vectors": row["vectors"]} | cells)
    order = {"system": "system", "vectors": "word vectors", "accuracy@1": "accuracy", "theirs": "the paper's"}
    said = (
        f"{PERCENT} {table['folds']} stratified folds of {table['posts']:,} posts with {table['hashtags']} hashtags. "
        "P, R and F1 are micro averages, which for posts with one hashtag are the accuracy; so are the paper's."
    )
    return [Heading("Table 2: supervised systems"), Paragraph(said), Table(rows, order | titles)]


def table_3(table: Mapping[str, Any]) -> list[Block]:
    """Zero-shot and few-shot hit@k, ours beside the paper's, a table each."""
    blocks: list[Block] = [
        Heading("Table 3: hashtags never seen, or hardly"),
        Paragraph(
            f"hit@k: the share of posts whose hashtag is among the first k of the unseen ones. {PERCENT} "
            f"{table['splits']} splits, drawn by seed; the best of ours bold. Transductive word vectors, the paper's, "
            "were trained on all texts with their hashtags; inductive ones on no text of a post to be tested on, nor "
            "on any with an unseen hashtag. Cosine is untrained, chance a random order. Ahead of another: hit@1 less "
            "that one's on the same splits, mean ± standard error. * Not the paper's: the sum of word2vec's two "
            "vectors of a hashtag, posts' vectors about their mean and of length one, scores brought to mean 0 and "
            "variance 1 over the training posts; and ESZSL pulled towards the cosine instead "
            "of towards nothing. Balanced: hashtags count alike, not posts."
        ),
    ]
    for kind, title in (
        ("zero-shot", "Zero-shot"),
        ("few-shot", "Few-shot: 5 to 10 posts of each unseen hashtag train"),
    ):
        mine = [row for row in table["rows"] if row["kind"] == kind]
        blocks += [Heading(title, 3), Table(_hit_rows(mine), _hit_columns())] if mine else []
    return blocks


def _hit_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        rivals = [r["hits"] for r in rows if r["seen"] == row["seen"] and r["unseen"] == row["unseen"]]
        cells: dict[str, Any] = {}
        for hit, value in row["hits"].items():
            best = value["mean"] == max(hits[hit]["mean"] for hits in rivals) and hit != f"hit@{row['unseen']}"
            said = _percent(value) if row["method"] != "chance" else f"{100 * value['mean']:.1f}"
            cells[hit] = Strong(said) if best else said
        theirs = " / ".join(map(str, row["paper"])) if row["paper"] else None
        seen, unseen = row["paper_sizes"]
        sizes = f"{row['seen']}/{row['unseen']}" + ("" if row["seen"] == seen else f" (for {seen}/{unseen})")
        cells |= {other: f"{100 * by['mean']:+.1f} ± {100 * by['error']:.1f}" for other, by in row["ahead"].items()}
        found.append(
            {"split": sizes, "method": _called(row["method"]), "vectors": row["vectors"], "theirs": theirs} | cells
        )
    return found


def _hit_columns() -> dict[str, str]:
    ours = {f"hit@{k}": f"hit@{k}" for k in HITS}
    first = {"split": "seen/unseen", "method": "method", "vectors": "word vectors"}
    ahead = {"cosine": "ahead of cosine", "eszsl, mean word vectors": "ahead of ESZSL on mean word vectors"}
    return first | ours | ahead | {"theirs": f"the paper's hit@{'/'.join(map(str, HITS))}"}


def table_4(table: Mapping[str, Any]) -> list[Block]:
    """Posts and what is recommended; the right ones bold."""
    rows = [
        {
            "post": row["post"],
            "its hashtag": [f"#{name}" for name in row["hashtags"]],
            "recommended": [
                Strong(f"#{name}") if name in row["hashtags"] else f"#{name}" for name in row["recommended"]
            ],
        }
        for row in table["rows"]
    ]
    said = (
        f"What {_called(table['method'])} recommends among {table['unseen']} hashtags that it never saw, with "
        f"{table['vectors']} word vectors, on split {table['split']}; posts before stop words go. Like the paper's, "
        f"they are posts that have their hashtag among the first five, which {table['share']:.1%} of "
        f"{table['posts']:,} have; they are evenly spaced among those."
    )
    return [
        Heading("Table 4: what is recommended"),
        Paragraph(said),
        Table(rows, ["post", "its hashtag", "recommended"]),
    ]


def section_7_4(table: Mapping[str, Any]) -> list[Block]:
    """Word vectors compared, and activations by validation."""
    rows = [
        {"vectors": row["vectors"], "accuracy@1": _percent(row["accuracy@1"])}
        | {hit: _percent(value) for hit, value in row["hits"].items()}
        for row in table["vectors"]
    ]
    method = f"{_called(table['method'])} {table['seen']}/{table['unseen']}"
    hits = {hit: f"{method}, {hit}" for hit in table["vectors"][0]["hits"]}
    tried = [
        {
            "system": _called(search["recipe"].rpartition("/")[2]),
            "activation": shown(next(iter(row["fields"].values()))),
            "accuracy@1": _bold(row["mean"]["accuracy@1"], row["spread"]["accuracy@1"], row["point"] == search["best"])
            if "mean" in row
            else "diverged",
        }
        for search in table["activations"]
        for row in search["points"]
    ]
    paper = (
        "The paper tells that 300 dimensions are about as good as 150, and pretrained vectors of news clearly worse."
    )
    return [
        Heading("Section 7.4: word vectors and activations"),
        Paragraph(f"{paper} Ours are {table['setting']}. Percent: accuracy over the folds, and zero-shot hit@k."),
        Table(rows, {"vectors": "word vectors", "accuracy@1": f"{_called(table['system'])}, accuracy"} | hits),
        *([] if table["pretrained"] else [Paragraph(NO_FILE)]),
        Paragraph("Activations by their accuracy on the validation parts of the folds, as a search settles them; the "
                  "paper's search chose relu for the recurrent layers and softplus for the convolutions."),
        Table(tried, {"system": "system", "activation": "activation", "accuracy@1": "validation accuracy"}),
    ]  # fmt: skip


def figures(work: Work) -> list[Block]:
    """Fig. 1, posts of each hashtag, and Fig. 2, words as a cloud and hashtags as a map, of the first fold's posts."""
    dataset, name = work.dataset, f"{work.protocol.prefix}-fold-0"
    if not (dataset.path / "splits" / name / "split.json").is_file():
        return [Heading("Fig. 1 and Fig. 2"), Paragraph(f"Left out: the dataset has no split {name}.")]
    split = dataset.split(name)
    rows = np.sort(np.concatenate([split.train, split.validation, split.test]))
    wanted = vectors_there(split, work.protocol)
    drawn = datasets.pictures(dataset, split, rows, "posts", work.out, "", wanted)
    numbers = iter(("Fig. 1.", "Fig. 2, left.", "Fig. 2, right."))
    return [
        Heading("Fig. 1 and Fig. 2: the posts in pictures"),
        *(Picture(b.path, f"{next(numbers)} {b.caption}") if isinstance(b, Picture) else b for b in drawn),
    ]


def _called(name: str) -> str:
    return NAMES.get(name, name)


def _percent(value: Mapping[str, float]) -> str:
    return f"{100 * value['mean']:.1f} ± {100 * value['spread']:.1f}"


def _bold(mean: float, spread: float, best: bool) -> str:
    said = _percent({"mean": mean, "spread": spread})
    return Strong(said) if best else said


SECTIONS = {"1": table_1, "2": table_2, "3": table_3, "4": table_4, "7.4": section_7_4}
