"""A report as a list of blocks, written as Markdown and as one self-contained HTML page."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtag.report import tables

STYLE = """
:root { color-scheme: light dark; --text: #1c2430; --quiet: #5a6676; --page: #fbfbf9; --line: #d9dde3; --card: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e8ee; --quiet: #9aa6b6; --page: #14181e; --line: #333c48; --card: #1c222a; }
}
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem; color: var(--text); background: var(--page);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
h3 { font-size: 1.05rem; margin: 1.8rem 0 .4rem; }
p { margin: .4rem 0; }
.scroll { overflow-x: auto; margin: .8rem 0; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .4rem .7rem; text-align: left; vertical-align: top; border-top: 1px solid var(--line); }
th { color: var(--quiet); font-weight: 600; white-space: nowrap; border-top: 0; }
td:first-child { min-width: 8rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1rem 0; }
figure .scroll { background: #fff; }
figure img { display: block; width: 100%; min-width: 38rem; height: auto; }
figcaption { color: var(--quiet); font-size: .9rem; margin-top: .3rem; }
"""

# Should any text ever slip through unescaped, it still may not run or load anything.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table; fields as in `jaxtag.report.tables.markdown`."""

    rows: Sequence[Mapping[str, Any]]
    columns: Sequence[str] | Mapping[str, str]
    best: Sequence[str] = ()


@dataclass(frozen=True)
class Picture:
    """A PNG beside the report, and what it shows."""

    path: Path
    caption: str


Block = Heading | Paragraph | Table | Picture


def to_markdown(blocks: Sequence[Block]) -> str:
    """The blocks as Markdown; pictures by their file's name."""
    parts = []
    for block in blocks:
        match block:
            case Heading(text, level):
                parts.append(f"{'#' * level} {tables.escape_markdown(text)}")
            case Paragraph(text):
                parts.append(tables.escape_markdown(text))
            case Table(rows, columns, best):
                parts.append(tables.markdown(rows, columns, best))
            case Picture(path, caption):
                parts.append(f"![{tables.escape_markdown(caption)}]({path.name})")
    return "\n\n".join(parts) + "\n"


def to_html(blocks: Sequence[Block], title: str) -> str:
    """The blocks as one page that needs nothing else: pictures within it, no script, light and dark."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{tables.escape_html(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{tables.escape_html(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{tables.escape_html(text)}</p>"
        case Table(rows, columns, best):
            return tables.html(rows, columns, best)
        case Picture(path, caption):
            data, text = base64.b64encode(path.read_bytes()).decode(), tables.escape_html(caption)
            return (f'<figure><div class="scroll"><img src="data:image/png;base64,{data}" alt="{text}"></div>'
                    f"<figcaption>{text}</figcaption></figure>")  # fmt: skip
