"""What reproductions share: a paper's tables, run one after the other, and written as JSON and pages once done."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtag.data.dataset import Dataset, open_dataset
from jaxtag.errors import JaxtagError, nearest
from jaxtag.files import held, write_json, write_text
from jaxtag.recipes import recipes
from jaxtag.report import document
from jaxtag.report.document import Block, Heading, Paragraph
from jaxtag.reproduce.commands import Absent
from jaxtag.search.space import shown
from jaxtag.training.logs import say

FORMAT = 1

# What built-in baselines are called in every paper's tables.
BASELINES = {
    "most_used": "most used", "authors_most_used": "author's most used", "authors_most_recent": "author's most recent",
}  # fmt: skip

Overrides = Mapping[str, Mapping[str, Any]]  # of each recipe's fields, by its name: {"rnn": {"model.width": "256"}}


@dataclass(frozen=True, kw_only=True)
class Asked(ABC):
    """What a reproduction is asked for, whatever it reads.

    Attributes:
      out: folder.
      size: of the recipes.
      overrides: of their fields.
    """

    out: Path
    size: str
    overrides: Overrides | None = None

    @property
    @abstractmethod
    def datasets(self) -> Mapping[str, Dataset]:
        """The datasets by the paper's names for them, opened; the name of a paper's only one is empty."""


@dataclass(frozen=True, kw_only=True)
class Work(Asked):
    """The same of a paper with one dataset.

    Attributes:
      data: its folder.
    """

    data: Path

    @property
    def dataset(self) -> Dataset:
        """The dataset, opened."""
        return open_dataset(self.data)

    @property
    def datasets(self) -> Mapping[str, Dataset]:
        """The one dataset."""
        return {"": self.dataset}


@dataclass(frozen=True)
class Paper:
    """A paper's tables and pages.

    Attributes:
      name: as the command line has it, and its recipes' names begin.
      title: of the paper.
      tables: by number: what makes a table's JSON values; a number with a dot is a section's.
      sections: by number: the blocks of a table that is there.
      settings: of the document: what is said of how it was made.
      figures: the blocks of the figures, once all tables are made.
    """

    name: str
    title: str
    tables: Mapping[str, Callable[[Any], dict[str, Any]]]
    sections: Mapping[str, Callable[[Mapping[str, Any]], list[Block]]]
    settings: Callable[[Mapping[str, Any]], str]
    figures: Callable[[Any, Mapping[str, Any]], list[Block]]


def reproduce(paper: Paper, work: Asked, parts: Sequence[str], said: Mapping[str, Any]) -> dict[str, Any]:
    """Run what is left to run, and write the tables as far as they are done, after each part.

    Args:
      paper: whose tables.
      work: what is asked for.
      parts: which tables and sections; the figures are always drawn.
      said: what the document says of how they were made.

    Returns:
      What NAME.json holds: `tables` by number, each with rows of ours and the paper's, or why it is `absent`.

    Raises:
      JaxtagError: a dataset is none, a part is none of the paper's, or a folder below `out` is of other settings.
      Preempted: SIGTERM or SIGINT came; the same call goes on from there.
    """
    datasets = {name: _described(dataset) for name, dataset in work.datasets.items()}
    for wanted in parts:
        if wanted not in paper.tables:
            raise JaxtagError(f"no table {wanted!r} in the {paper.name} paper", nearest(wanted, paper.tables))
    work.out.mkdir(parents=True, exist_ok=True)
    made: dict[str, Any] = {
        "format": FORMAT, "paper": paper.name, "size": work.size, **said,
        "overrides": {name: dict(fields) for name, fields in (work.overrides or {}).items()},
        **({"dataset": datasets[""]} if "" in datasets else {"datasets": datasets}),
        "tables": {},
    }  # fmt: skip
    with held(work.out):
        for part in (p for p in paper.tables if p in parts):
            say(f"{'section' if '.' in part else 'table'} {part}")
            try:
                made["tables"][part] = paper.tables[part](work)
            except Absent as error:
                say(f"left out: {error}")
                made["tables"][part] = {"absent": str(error)}
            write_json(work.out / f"{paper.name}.json", made)
            write(paper, made, work.out)
        say("figures")
        write(paper, made, work.out, paper.figures(work, made))
    return made


def write(paper: Paper, found: Mapping[str, Any], out: Path, drawn: Sequence[Block] = ()) -> None:
    """NAME.md and index.html in the folder `out`: the tables that are done, and figures, if drawn."""
    blocks: list[Block] = [Heading(f"{paper.title}: ours beside the paper's", 1), Paragraph(paper.settings(found))]
    changed = [f"{name}.{key} {shown(v)}" for name, fields in found["overrides"].items() for key, v in fields.items()]
    blocks += [Paragraph(f"Other than the recipes: {', '.join(changed)}.")] if changed else []
    for number, table in found["tables"].items():
        blocks += paper.sections[number](table) if "absent" not in table else _absent(number, table)
    blocks += drawn
    write_text(out / f"{paper.name}.md", document.to_markdown(blocks))
    write_text(out / "index.html", document.to_html(blocks, paper.title))


def grouped(overrides: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Dotted overrides, a recipe's name first such as `rnn.model.width`, by recipe."""
    fields: dict[str, dict[str, Any]] = {}
    for key, value in (overrides or {}).items():
        recipe, _, field = key.partition(".")
        fields.setdefault(recipe, {})[field] = value
    return fields


def check_overrides(paper: str, overrides: Overrides | None) -> None:
    """Refuse overrides of what is no recipe of the paper.

    Raises:
      JaxtagError: naming the nearest recipe.
    """
    known = [name.removeprefix(f"{paper}/") for name in recipes() if name.startswith(f"{paper}/")]
    for name in overrides or {}:
        if name not in known:
            raise JaxtagError(f"no recipe {name!r} in the {paper} paper to override fields of", nearest(name, known))


def named(given: Sequence[str], option: str, known: Sequence[str], alone: str = "") -> dict[str, str]:
    """What an option with several NAME=VALUE says, by name; a value without a name is that of `alone`.

    Raises:
      JaxtagError: a name is not known, given twice or missing; the message names the nearest.
    """
    found: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or (name not in known and Path(one).exists()):
            name, value = alone, one
        if not name:
            raise JaxtagError(f"{option} {one} has no name", f"{option} {known[0]}={one}")
        if name not in known:
            raise JaxtagError(f"{option} {one}: there is no {name!r}", nearest(name, known))
        if not value:
            raise JaxtagError(f"{option} {one} has nothing behind the name", f"{option} {name}=...")
        if name in found:
            raise JaxtagError(f"{option} names {name} twice", "name it once")
        found[name] = value
    return found


def scores(found: Mapping[str, Any], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Mean and spread of the metrics `names` that are there, of runs as `jaxtag.crossvalidate` has them."""
    return {m: {what: found[what][m] for what in ("mean", "spread")} for m in names if m in found["mean"]}


def _described(dataset: Dataset) -> dict[str, str]:
    return {"path": str(dataset.path), "name": dataset.info["name"], "fingerprint": dataset.fingerprint}


def _absent(number: str, table: Mapping[str, Any]) -> list[Block]:
    name = f"Section {number}" if "." in number else f"Table {number}"
    return [Heading(name), Paragraph(f"Left out: {table['absent']}.")]
