"""What a row of the table of systems says: what a system reads, how it ranks, how it learns, where its module is."""

import importlib
from dataclasses import dataclass
from typing import Any, Literal

from jaxtag.data.posts import HISTORY


@dataclass(frozen=True)
class Indexed:
    """Parameter tables whose rows a batch names: a step needs, and moves, those rows alone.

    Attributes:
      tables: paths of the parameters, all with the same number of rows; a model need not have each. None where the
        columns index no parameter.
      columns: of the batch, whose values are row numbers of these tables and nothing else; negative ones are padding.
      size: the field of the system's module, and of `Sizes`, that is the number of rows.
    """

    tables: tuple[str, ...]
    columns: tuple[str, ...]
    size: str


MEMORY_TABLES = ("word_table/table", "key_table/table", "value_table/table", "hop_tables/table")  # those it has
MEMORY = (Indexed(MEMORY_TABLES, ("tokens", HISTORY), "words"),)
WORD_TABLE = (Indexed(("word_table/table",), ("tokens",), "words"),)


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
      name: of the system, as an experiment names it.
      title: one line.
      paper: whose method it is, as in this repository's recipes' files.
      columns: what it reads of a post, beside its hashtags; where its settings decide that, `reads` says.
      output: how it ranks: `table` (query against a table of hashtags), `scores` or `decode`.
      module: where its `Settings` and `Model` are.
      indexed: its tables indexed by columns, for `training.rows`; most have a word table, by tokens.
      zero_shot: whether it ranks hashtags by vectors, and so also those that it did not train on
        (`jaxtag.zero_shot`); it may have an encoder, and then reads what that reads.
      learned: by gradient `steps`; by one `fit`; or in `sweeps` over the training posts, the loop's steps
        (`jaxtag.fitted`).
      gives: with what it recommends: a `probability`, or a `score`, comparable within a post.
      couples: in training, what it makes of a post depends on the other posts of its batch, which cannot be divided.
    """

    name: str
    title: str
    paper: str
    columns: tuple[str, ...]
    output: Literal["table", "scores", "decode"]
    module: str
    indexed: tuple[Indexed, ...] = WORD_TABLE
    zero_shot: bool = False
    learned: Literal["steps", "fit", "sweeps"] = "steps"
    gives: Literal["probability", "score"] = "probability"
    couples: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns that hold words, padded on the right, which a batch of short posts may have shorter."""
        return tuple(dict.fromkeys(name for group in self.indexed if group.size == "words" for name in group.columns))

    def reads(self, settings: Any) -> tuple[str, ...]:
        """The columns that it reads with `settings`: their own `columns`, or the row's."""
        return getattr(settings, "columns", ()) or self.columns

    def model(self) -> Any:
        """The linen module's class, of a system that learns by steps."""
        return importlib.import_module(self.module).Model

    def settings(self) -> Any:
        """The dataclass of its model settings."""
        return importlib.import_module(self.module).Settings
