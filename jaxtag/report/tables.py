"""Tables as Markdown and as HTML, from the same rows; every text in them is escaped.

A cell is None, a number, a text, or a list of texts; a text that is `Strong` stands in bold, words that are `Weighed`
are shaded.
"""

import html as markup
import re
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
SCORES = {"precision": "P", "recall": "R", "f1": "F1", "accuracy": "Acc"}


class Strong(str):
    """Text shown in bold."""


class Weighed(tuple):
    """Words with how much each counts, `((word, weight), …)`: shaded in HTML, the heavier half bold in Markdown."""


def _shaded(word: str, share: float) -> str:
    """A word on a ground that is the darker the more it counts."""
    return f'<span style="background: rgb(226 142 36 / {0.75 * share:.2f})">{word}</span>'


def _stressed(word: str, share: float) -> str:
    return f"**{word}**" if share >= 0.5 else word


def markdown(rows: Sequence[Row], columns: Sequence[str] | Mapping[str, str], best: Sequence[str] = ()) -> str:
    """A Markdown table, its columns aligned so that a terminal shows it well.

    Args:
      rows: the cells of each row by column.
      columns: which columns, in order; a mapping gives their titles.
      best: columns of numbers whose greatest is bold.

    Returns:
      The table, without a line end behind its last line.
    """
    titles, cells = _cells(rows, columns, best, escape_markdown, "**{}**", _stressed)
    right = _numeric(rows, columns)
    widths = [max(3, *(len(line[i]) for line in [titles, *cells])) for i in range(len(titles))]

    def line(parts: Sequence[str]) -> str:
        padded = [p.rjust(w) if r else p.ljust(w) for p, w, r in zip(parts, widths, right)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right)]
    return "\n".join([line(titles), line(rule), *(line(row) for row in cells)])


def html(rows: Sequence[Row], columns: Sequence[str] | Mapping[str, str], best: Sequence[str] = ()) -> str:
    """The same table in HTML, in a box that scrolls sideways on a narrow screen; arguments as in `markdown`."""
    titles, cells = _cells(rows, columns, best, escape_html, "<strong>{}</strong>", _shaded)
    right = [' class="number"' if r else "" for r in _numeric(rows, columns)]
    head = "".join(f"<th{r}>{title}</th>" for title, r in zip(titles, right))
    body = "".join("<tr>" + "".join(f"<td{r}>{c}</td>" for c, r in zip(row, right)) + "</tr>\n" for row in cells)
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>'


def metrics_table(systems: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table of evaluations by the system's name, the best F1@1 first and the best numbers bold."""
    rows, columns = metric_rows(systems)
    return markdown(rows, columns, best=list(columns)[1:])


def metric_rows(systems: Mapping[str, Mapping[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows and titled columns of a table of evaluations, the best F1 at the first cut-off first.

    All scores at the smallest cut-off are shown, F1, recall and accuracy at the greatest, and the macro F1;
    a score that only some of the systems have is left empty for the others.
    """
    known = {name for metrics in systems.values() for name in metrics}
    ks = cut_offs(known)
    names = [f"{s}@{ks[0]}" for s in ("precision", "recall", "f1")] if ks else []
    if len(ks) > 1:
        names += [f"{s}@{ks[-1]}" for s in ("f1", "recall", "accuracy")]
    names += ["f1_macro"] if "f1_macro" in known else []
    order = sorted(systems, key=lambda name: -systems[name].get(f"f1@{ks[0]}", 0.0) if ks else 0.0)
    rows = [{"system": name} | {n: systems[name].get(n) for n in names} for name in order]
    return rows, {"system": "system"} | {n: title_of(n) for n in names}


def cut_offs(names: Sequence[str] | set[str]) -> list[int]:
    """The numbers k of the metrics `f1@k` among `names`, ascending."""
    return sorted({int(n[3:]) for n in names if n.startswith("f1@") and n[3:].isdecimal() and len(n) < 12})


def title_of(metric: str) -> str:
    """A metric's short name: `precision@5` is `P@5`, `f1_macro` is `F1 macro`."""
    score, separator, rest = metric.replace("_", "@").partition("@")
    return f"{SCORES.get(score, score)}{'@' if '@' in metric else ' ' if separator else ''}{rest}"


def escape_html(text: str) -> str:
    """Text that means nothing to a browser: markup escaped, invisible and direction-changing characters shown."""
    return markup.escape(plain(text), quote=True)


def escape_markdown(text: str) -> str:
    """Text on one line that means nothing to a Markdown reader, markup, links and images included."""
    text = markup.escape(plain(text), quote=False)
    text = re.sub(r"([\\`*|\[\]~])", r"\\\1", text)
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)
    return text.replace("://", "&#58;//").replace("www.", "www&#46;")


def plain(text: str) -> str:
    """`text` on one line, its invisible and direction-changing characters replaced by U+FFFD."""
    return HIDDEN.sub("\ufffd", " ".join(text.split()))


def shown(value: Any) -> str:
    """A number or text as a table shows it: three decimals, thousands set apart, a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _cells(
    rows: Sequence[Row], columns: Any, best: Sequence[str], escape: Any, strong: str, weigh: Any
) -> tuple[list[str], list]:
    """Titles and cells as escaped text, the greatest numbers of the columns `best` bold, words by their weights."""
    titles = [escape(t) for t in (columns.values() if isinstance(columns, Mapping) else columns)]
    top = {c: max((row[c] for row in rows if _is_number(row.get(c))), default=None) for c in best}

    def cell(column: str, value: Any) -> str:
        if isinstance(value, Weighed):
            most = max((weight for _, weight in value), default=0) or 1
            return " ".join(weigh(escape(word), max(weight, 0) / most) for word, weight in value) or "–"
        if isinstance(value, list | tuple):
            return ", ".join(cell("", v) for v in value) or "–"
        text = escape(shown(value))
        bold = isinstance(value, Strong) or (_is_number(value) and top.get(column) == value and len(rows) > 1)
        return strong.replace("{}", text) if bold else text

    return titles, [[cell(c, row.get(c)) for c in columns] for row in rows]


def _numeric(rows: Sequence[Row], columns: Sequence[str] | Mapping[str, str]) -> list[bool]:
    """Which columns hold nothing but numbers, and so stand to the right."""
    values = [[row.get(c) for row in rows if row.get(c) is not None] for c in columns]
    return [bool(v) and all(_is_number(x) for x in v) for v in values]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
