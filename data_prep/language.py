"""Languages: the many ways of writing one, and telling it from the text where a source does not.

Identification is py3langid's naive Bayes over byte n-grams (Lui and Baldwin, "langid.py: An Off-the-shelf Language
Identification Tool", 2012): its model is a table of 4 MB in the
package, the same for everybody; no network is needed.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache

# Twitter's and others' ways of saying that nobody knows. Its zxx, qht, qme and the like do tell: there is no language.
_UNTOLD = {"", "und", "undefined", "unknown", "language undefined", "none", "null", "nan"}
# Old codes, and parts of what sources call by one name.
_SAME = {"iw": "he", "hbo": "he", "in": "id", "ji": "yi", "nb": "no", "nn": "no", "fil": "tl", "cmn": "zh", "yue": "zh",
         "wuu": "zh", "arz": "ar", "ary": "ar", "uzs": "uz"}  # fmt: skip
_NAMES = """af Afrikaans, am Amharic, ar Arabic, az Azerbaijani, be Belarusian, bg Bulgarian, bn Bengali, bs Bosnian,
ca Catalan, cs Czech, cy Welsh, da Danish, de German, el Greek, en English, eo Esperanto, es Spanish, et Estonian,
eu Basque, fa Persian, fi Finnish, fr French, ga Irish, gl Galician, gu Gujarati, ha Hausa, he Hebrew, hi Hindi,
hr Croatian, ht Haitian, hu Hungarian, hy Armenian, id Indonesian, ig Igbo, is Icelandic, it Italian, ja Japanese,
ka Georgian, kk Kazakh, km Khmer, kn Kannada, ko Korean, ku Kurdish, ky Kyrgyz, la Latin, lo Lao, lt Lithuanian,
lv Latvian, mk Macedonian, ml Malayalam, mn Mongolian, mr Marathi, ms Malay, mt Maltese, my Burmese, ne Nepali,
nl Dutch, no Norwegian, pa Punjabi, pl Polish, ps Pashto, pt Portuguese, ro Romanian, ru Russian, sd Sindhi,
si Sinhala, sk Slovak, sl Slovenian, so Somali, sq Albanian, sr Serbian, sv Swedish, sw Swahili, ta Tamil, te Telugu,
tg Tajik, th Thai, tk Turkmen, tl Tagalog, tr Turkish, tt Tatar, ug Uyghur, uk Ukrainian, ur Urdu, uz Uzbek,
vi Vietnamese, xh Xhosa, yi Yiddish, yo Yoruba, zh Chinese, zu Zulu"""
_NAME = {pair.split()[0]: pair.split()[1] for pair in _NAMES.split(",")}
_CODE = {name.lower(): code for code, name in _NAME.items()} | {"farsi": "fa", "filipino": "tl"}
LONGEST = 4000  # characters that identification looks at


@lru_cache(maxsize=1 << 12)
def code(language: str) -> str:
    """One way of writing a language: ISO 639-1 where there is a code, lower case, no region; '' where it is untold.

    'en', 'EN-gb', 'en_US' and 'English' are all 'en'; 'Farsi (Persian)' is 'fa'.
    """
    language = " ".join(language.lower().split())
    if language in _UNTOLD:
        return ""
    short = language.replace("_", "-").partition("-")[0]
    return _SAME.get(short) or _CODE.get(language) or _CODE.get(language.partition(" (")[0]) or short


def name(language: str) -> str:
    """The English name of a code; the code itself where we know none."""
    return _NAME.get(language, language)


def codes(languages: Iterable[str]) -> tuple[str, ...]:
    """The codes of some languages, once each, in their order."""
    return tuple(dict.fromkeys(filter(None, map(code, languages))))


def identify(text: str) -> str:
    """The code of the language that `text` is in; '' where nothing in it tells.

    Args:
      text: without links, mentions and hashtags, which are in no language.
    """
    found, confidence = _classifier()(text[:LONGEST])
    return "" if confidence < -1e30 or found == "zxx" else code(found)  # with no evidence it returns its first language


@lru_cache(maxsize=1)
def _classifier() -> Callable[[str], tuple[str, float]]:
    import py3langid

    return py3langid.classify
