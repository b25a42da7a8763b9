"""The names that published checkpoints have for the parameters of `jaxtag.models.lxmert.Encoder` (SYSTEMS 3.2)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtag.models.lxmert import Settings

Path = tuple[str, ...]
WORDS, POOLER = ("text", "words"), ("pooler",)
ROOTS = ("embeddings.", "encoder.", "pooler.")  # what an encoder's names begin with, after a prefix of the file's own
# Sizes by their names in a config.json; those of `FIXED` are no settings of ours.
CONFIG = {
    "hidden_size": "width",
    "num_attention_heads": "heads",
    "intermediate_size": "inner",
    "max_position_embeddings": "places",
}
LAYERS = {"l_layers": "language_layers", "r_layers": "object_layers", "x_layers": "cross_layers"}
LXMERT_CONFIG = CONFIG | LAYERS | {"visual_feat_dim": "features"}
FIXED = {"hidden_act": "gelu", "type_vocab_size": 2}
LXMERT_FIXED = FIXED | {"visual_pos_dim": 4}


@dataclass(frozen=True)
class Place:
    """Where a checkpoint's tensor is among the parameters.

    Attributes:
      path: of the parameter.
      layer: index along its leading axis; −1 where it has none of layers.
      turned: whether the tensor is the parameter's transpose, as a linear layer's kernel is in PyTorch.
    """

    path: Path
    layer: int = -1
    turned: bool = False


Named = Iterator[tuple[str, Place]]


def lxmert(settings: Settings) -> dict[str, Place]:
    """The place of every tensor of a LXMERT encoder, by its name without prefix."""
    found = dict(language(settings))
    for part, name in (("features", "visn"), ("boxes", "box")):
        found |= _dense(f"encoder.visn_fc.{name}_fc", Place(("objects", part)))
        found |= _norm(f"encoder.visn_fc.{name}_layer_norm", Place(("objects", f"{part}_norm")))
    for i in range(settings.object_layers):
        found |= _layer(f"encoder.r_layers.{i}", Place(("vision", "layers"), i))
    last = settings.cross_layers - 1
    for i in range(settings.cross_layers):
        place = Place(("cross", "layers"), i) if i < last else Place(("cross", "last"))
        found |= _cross_layer(f"encoder.x_layers.{i}", place)
    return found | dict(_dense("pooler.dense", Place(POOLER)))


def language(settings: Settings) -> dict[str, Place]:
    """The place of every tensor that a plain BERT has for the language encoder: of the tables and the first layers."""
    tables = {"word": WORDS, "position": ("text", "places"), "token_type": ("text", "types")}
    found = {f"embeddings.{name}_embeddings.weight": Place(path) for name, path in tables.items()}
    found |= _norm("embeddings.LayerNorm", Place(("text", "norm")))
    for i in range(settings.language_layers):
        found |= _layer(f"encoder.layer.{i}", Place(("language", "layers"), i))
    return found


def settings_of(config: Mapping[str, Any], **more: Any) -> Settings:
    """The sizes that a LXMERT's config.json gives, and `more`."""
    return Settings(**({ours: config[theirs] for theirs, ours in LXMERT_CONFIG.items() if theirs in config} | more))


def config_of(settings: Settings, words: int) -> dict[str, Any]:
    """The config.json of an encoder with `words` rows of its word table, as Hugging Face's `LxmertModel` reads it."""
    sizes = {theirs: getattr(settings, ours) for theirs, ours in LXMERT_CONFIG.items()}
    rates = {"hidden_dropout_prob": settings.dropout, "attention_probs_dropout_prob": settings.dropout}
    named = {"architectures": ["LxmertModel"], "model_type": "lxmert", "torch_dtype": "float32", "vocab_size": words}
    return named | sizes | LXMERT_FIXED | rates


def disagreements(config: Mapping[str, Any], settings: Settings, bert: bool) -> list[str]:
    """What a config.json says otherwise than `settings`, one phrase each."""
    names = CONFIG if bert else LXMERT_CONFIG
    wanted: dict[str, Any] = {theirs: getattr(settings, ours) for theirs, ours in names.items()}
    wanted |= FIXED if bert else LXMERT_FIXED
    said = {name: config.get(name, value) for name, value in wanted.items()}
    return [f"{name} {said[name]} where the model has {wanted[name]}" for name in wanted if said[name] != wanted[name]]


def without_prefix(names: Iterable[str]) -> dict[str, str]:
    """Of a file's names, those of an encoder, by their plain name.

    A file's prefix is what most of them have before `ROOTS`: none, `lxmert.`, `bert.`, `module.bert.`. Older files
    call a normalisation's scale gamma and its bias beta.
    """
    starts: dict[str, int] = {}
    names = list(names)
    for name in names:
        at = min((i for root in ROOTS if (i := _begins(name, root)) >= 0), default=-1)
        if at >= 0:
            starts[name[:at]] = starts.get(name[:at], 0) + 1
    if not starts:
        return {}
    prefix = max(starts, key=lambda p: (starts[p], -len(p)))
    plain = {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
    return {_modern(short): name for short, name in plain.items() if short.startswith(ROOTS)}


def _begins(name: str, root: str) -> int:
    """Where `root` begins in `name`, at its start or after a dot; −1 where it does not."""
    return 0 if name.startswith(root) else name.find("." + root) + 1 or -1


def _modern(name: str) -> str:
    ends = {".gamma": ".weight", ".beta": ".bias"}
    return next((name.removesuffix(old) + new for old, new in ends.items() if name.endswith(old)), name)


def _at(place: Place, *more: str, turned: bool = False) -> Place:
    return Place(place.path + more, place.layer, turned)


def _dense(name: str, place: Place) -> Named:
    yield f"{name}.weight", _at(place, "kernel", turned=True)
    yield f"{name}.bias", _at(place, "bias")


def _norm(name: str, place: Place) -> Named:
    yield f"{name}.weight", _at(place, "scale")
    yield f"{name}.bias", _at(place, "bias")


def _attention(inner: str, output: str, place: Place) -> Named:
    for part in ("query", "key", "value"):
        yield f"{inner}.{part}.weight", _at(place, "attention", f"{part}_kernel", turned=True)
        yield f"{inner}.{part}.bias", _at(place, "attention", f"{part}_bias")
    yield from _dense(f"{output}.dense", _at(place, "attention", "output"))
    yield from _norm(f"{output}.LayerNorm", _at(place, "norm"))


def _forward(wide: str, narrow: str, place: Place) -> Named:
    yield from _dense(f"{wide}.dense", _at(place, "wide"))
    yield from _dense(f"{narrow}.dense", _at(place, "narrow"))
    yield from _norm(f"{narrow}.LayerNorm", _at(place, "norm"))


def _layer(name: str, place: Place) -> Named:
    yield from _attention(f"{name}.attention.self", f"{name}.attention.output", _at(place, "self_attention"))
    yield from _forward(f"{name}.intermediate", f"{name}.output", _at(place, "feed_forward"))


def _cross_layer(name: str, place: Place) -> Named:
    both = f"{name}.visual_attention"
    yield from _attention(f"{both}.att", f"{both}.output", _at(place, "cross_attention"))
    for ours, theirs in (("language", "lang"), ("vision", "visn")):
        own = f"{name}.{theirs}_self_att"
        yield from _attention(f"{own}.self", f"{own}.output", _at(place, f"{ours}_attention"))
        yield from _forward(f"{name}.{theirs}_inter", f"{name}.{theirs}_output", _at(place, f"{ours}_forward"))
