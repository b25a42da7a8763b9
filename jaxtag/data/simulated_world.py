"""The words, hashtags and habits that the posts of `jaxtag.data.simulate` are made from."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice

import numpy as np

IMAGE_WIDTH = 64  # features of an image
TOPICS, CONCEPTS, COMMUNITIES, EVENTS, SCENES, PETS = 14, 3, 4, 6, 5, 8
SYNONYMS = 8  # words of a concept
FUNCTION_WORDS = tuple(
    "the to a and of in for is on you my it with at this that be are so have we was me just all not your but"  # noqa: SIM905
    " out up they from what when like about our can their as or if now one how there by an more been has who".split()
)
CUES = {
    "beats": ("beats", "tops", "defeats"),
    "trails": ("trails", "chases", "fears"),
    "for": ("back", "love", "praise"),
    "against": ("doubt", "reject", "hate"),
    "denying": ("hardly", "never", "nobody"),
}  # verbs, and words that turn one round; the hashtag depends on their order


@dataclass(frozen=True)
class World:
    """Everything that stays the same over a corpus; word and hashtag entries are places in `lexicon`.

    Attributes:
      lexicon: every string a post can contain, place 0 the empty one; object array.
      functions, cues (by the keys of `CUES`), background, topic_words `[TOPICS, n]`,
      concept_words `[TOPICS, CONCEPTS, SYNONYMS]`, dialect `[COMMUNITIES, n]`, names `[TOPICS, 2, 2]`: places of words.
      general `[TOPICS, 2]`, specific `[TOPICS, CONCEPTS]`, sides `[TOPICS, 2]`, events `[EVENTS]`,
      scenes `[SCENES]`, pets `[PETS]`: places of hashtags.
      variant: which of a topic's two general hashtags a community uses, `[COMMUNITIES, TOPICS]`.
      popularity, period, phase: of topics, `[TOPICS]`; period in days.
      broad `[TOPICS]`: how often a general hashtag is used; high for topics whose concepts seldom get one.
      tagged, tag_phase: how often a concept's hashtag is used and when, `[TOPICS, CONCEPTS]`.
      event_topic, event_period: `[EVENTS]`.
      topic_image, concept_image, scene_image: directions of image features.
    """

    lexicon: np.ndarray
    functions: np.ndarray
    cues: dict[str, np.ndarray]
    background: np.ndarray
    topic_words: np.ndarray
    concept_words: np.ndarray
    dialect: np.ndarray
    names: np.ndarray
    general: np.ndarray
    specific: np.ndarray
    sides: np.ndarray
    events: np.ndarray
    scenes: np.ndarray
    pets: np.ndarray
    variant: np.ndarray
    popularity: np.ndarray
    period: np.ndarray
    phase: np.ndarray
    broad: np.ndarray
    tagged: np.ndarray
    tag_phase: np.ndarray
    event_topic: np.ndarray
    event_period: np.ndarray
    topic_image: np.ndarray
    concept_image: np.ndarray
    scene_image: np.ndarray


class _Lexicon:
    """Strings as they are added; their places in the order of adding."""

    def __init__(self):
        self.strings = [""]

    def add(self, shape: tuple[int, ...], strings: Iterable[str]) -> np.ndarray:
        """Places `shape` of as many new strings."""
        first, size = len(self.strings), int(np.prod(shape))
        self.strings.extend(islice(strings, size))
        return np.arange(first, first + size).reshape(shape)

    def tags(self, words: np.ndarray, ending: str) -> np.ndarray:
        """Places of new hashtags: each of `words` with `ending`."""
        return self.add(words.shape, [f"#{self.strings[word]}{ending}" for word in words.ravel()])


@lru_cache(maxsize=4)
def make_world(seed: int) -> World:
    """The words, hashtags and habits that the corpus of `seed` is made from."""
    rng = np.random.default_rng([seed, 0])
    book = _Lexicon()
    functions = book.add((len(FUNCTION_WORDS),), FUNCTION_WORDS)
    cues = {kind: book.add((len(words),), words) for kind, words in CUES.items()}
    invented = iter(_invent(rng, 7000, set(book.strings)))
    new, tags = partial(book.add, strings=invented), book.tags
    pool = new((900,))  # topical words; a topic takes 140 of them, so that many belong to several topics
    background = new((3600,))
    topic_words = np.stack([rng.choice(pool, 140, replace=False) for _ in range(TOPICS)])
    concept_words = new((TOPICS, CONCEPTS, SYNONYMS))
    ambiguous = rng.integers(0, TOPICS, (TOPICS, CONCEPTS))
    concept_words[:, :, 4] = concept_words[ambiguous, rng.integers(0, CONCEPTS, ambiguous.shape), 1]
    names = new((TOPICS, 2, 2))
    sided = names[:, :, 0]
    stance = np.stack([tags(sided[:, 0], "yes"), tags(sided[:, 0], "no")], 1)
    teams = tags(sided, "fans")
    broad = np.where(np.arange(TOPICS) % 4 < 2, 0.75, 0.15)
    return World(
        functions=functions, cues=cues, background=background, topic_words=topic_words, concept_words=concept_words,
        dialect=new((COMMUNITIES, 40)), names=names,
        general=np.stack([tags(topic_words[:, 0], ""), tags(topic_words[:, 0], "life")], 1),
        specific=tags(concept_words[:, :, 0], ""),
        sides=np.where(is_duel(np.arange(TOPICS))[:, None], teams, stance),
        events=tags(new((EVENTS,)), "week"), scenes=tags(new((SCENES,)), ""),
        pets=tags(new((PETS,)), "club"),
        variant=np.stack([rng.permutation(np.arange(COMMUNITIES) <= t % 2) for t in range(TOPICS)], 1).astype(int),
        popularity=1 / np.arange(1, TOPICS + 1) ** 0.6, period=rng.uniform(40, 160, TOPICS),
        phase=rng.uniform(0, 1, TOPICS), broad=broad,
        tagged=rng.uniform(0.7, 1.0, (TOPICS, CONCEPTS)) * (1.1 - broad)[:, None],
        tag_phase=rng.uniform(0, 1, (TOPICS, CONCEPTS)),
        event_topic=rng.permutation(TOPICS)[:EVENTS], event_period=rng.uniform(50, 110, EVENTS),
        topic_image=rng.normal(0, 0.4, (TOPICS, IMAGE_WIDTH)),
        concept_image=rng.normal(0, 0.4, (TOPICS, CONCEPTS, IMAGE_WIDTH)),
        scene_image=rng.normal(0, 0.4, (SCENES, IMAGE_WIDTH)),
        lexicon=np.array(book.strings, dtype=object),
    )  # fmt: skip


def _invent(rng: np.random.Generator, count: int, taken: set[str]) -> list[str]:
    """`count` different pronounceable words, shorter ones first on the whole; none of `taken`."""
    onsets = "b br c ch d dr f fl g gr h j k kl l m n p pl r s sh sk st t th tr v w z".split()  # noqa: SIM905
    vowels = "a a e e i o o u ai ea oo".split()  # noqa: SIM905
    codas = ["", "", "", "n", "r", "l", "s", "m", "k", "nd", "st"]
    made: dict[str, None] = {}
    while len(made) < count:
        syllables = 2 + (len(made) > count // 4) + (rng.random() < 0.15)
        parts = [onsets[rng.integers(len(onsets))] + vowels[rng.integers(len(vowels))] for _ in range(syllables)]
        word = "".join(parts) + codas[rng.integers(len(codas))]
        if word not in taken:
            made[word] = None
    return list(made)


def is_duel(topic: np.ndarray) -> np.ndarray:
    """Whether a topic has two sides that beat each other; the others have one thing to be for or against."""
    return topic % 2 == 0
