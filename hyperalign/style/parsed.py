"""Parse a text by rules into words, sentences, paragraphs, list items, greeting and sign-off, and tell its language.

Words have the boundaries of Unicode; the other rules and the word lists are English.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.resources import files
from statistics import median
from typing import Any

from hyperalign.text import SIGNS, UNSPACED, compile_unicode

__all__ = [
    "BOOSTERS",
    "CONJUNCTIONS",
    "CONTRACTION",
    "ENGLISH",
    "FIRST_PLURAL",
    "FIRST_SINGULAR",
    "GREETING",
    "HEDGES",
    "IMPERATIVES",
    "NEGATIONS",
    "SECOND_PERSON",
    "SIGN_OFF",
    "ParsedText",
    "languages_of",
    "load_function_words",
    "parse",
    "sentence_ends",
    "tell_language",
    "words_of",
]

ENGLISH = "en"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> re.Pattern[str]:
    """Match any of the comma-separated phrases as whole words, the longest first."""
    phrases = sorted((phrase.strip() for phrase in text.split(",")), key=len, reverse=True)
    return re.compile(rf"(?<![\w'])(?:{'|'.join(map(re.escape, phrases))})(?![\w'])")


@cache
def load_function_words() -> frozenset[str]:
    """English function words: those that carry no topic."""
    lines = files("hyperalign.style").joinpath("function_words.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


FIRST_SINGULAR = _words("i me my mine myself i'm i've i'd i'll")
FIRST_PLURAL = _words("we us our ours ourselves we're we've we'd we'll let's")
SECOND_PERSON = _words("you your yours yourself yourselves you're you've you'd you'll y'all")
CONJUNCTIONS = _words("and but so or nor yet because plus")
NEGATIONS = _words("not no never none nobody nothing nowhere neither nor cannot without")
CONTRACTION = re.compile(
    r"\w+(?:n't|'re|'ve|'ll|'m|'d)|(?:it|that|he|she|there|here|what|who|where|how|when|why|let|everyone|everybody|"
    r"someone|somebody|nobody|everything|something|nothing|one)'s|y'all|gonna|gotta|wanna"
)

HEDGES = _phrases(
    "perhaps, maybe, possibly, probably, presumably, apparently, seemingly, arguably, conceivably, roughly, somewhat, "
    "rather, fairly, mostly, mainly, partly, largely, generally, usually, often, sometimes, tends, tend, tended, "
    "seem, seems, seemed, appear, appears, appeared, suggest, suggests, suggested, suppose, supposedly, suspect, "
    "wonder, wondered, guess, doubt, assume, might, may, could, likely, unlikely, possible, uncertain, unclear, "
    "not sure, not certain, not entirely, not quite, i think, i believe, i feel, in some sense, in a sense, "
    "in a way, sort of, kind of, more or less, to some extent, as far as i know, inclined to, a bit, a little, "
    "or so, it depends, if anything, if i'm honest"
)
BOOSTERS = _phrases(
    "very, really, truly, absolutely, certainly, definitely, clearly, obviously, surely, always, never, completely, "
    "totally, entirely, extremely, incredibly, utterly, highly, deeply, simply, indeed, in fact, of course, "
    "without doubt, no doubt, undoubtedly, by far, for sure, exactly, precisely, especially, particularly, "
    "so much, so many, the whole, every single, nothing but, must, will never"
)
IMPERATIVES = _words(
    "add answer apply arrange ask avoid be begin believe boil book bring build buy call cancel check choose chop "
    "clean click close come compare complete confirm consider contact continue cook copy count cover create cut "
    "decide delete describe divide do don't drain draw drink drive drop eat enjoy enter expect explain fill find "
    "finish fix fold follow forget get give go grab hand have heat hold ignore imagine install join keep learn "
    "leave lend let lock look make measure meet mix move never note open pack park pay pick place plan play please "
    "pour prepare press print pull push put read recall remember remove repeat replace reply rest return ring rinse "
    "run salt save say see sell send serve set share show sign sit skip slice smile soak speak spend stand start "
    "stay step stir stop store strike switch take taste tell test thank think throw tie touch travel try turn type "
    "update use visit wait walk wash watch wave wear welcome wipe write"
)

GREETING = re.compile(
    r"(?:my )?(?:dear|dearest|hi|hello|hey|greetings|howdy|good (?:morning|afternoon|evening|day)|"
    r"to whom it may concern)\b"
)
SIGN_OFF = re.compile(
    r"(?:(?:with|all my|lots of|much|in|your|yours|ever|best|kind|kindest|warm|warmest|warmly|fond|fondly|love|loving|"
    r"affectionately|sincerely|respectfully|cordially|gratefully|faithfully|cheers|many|thanks|thank you|regards|"
    r"take care|talk soon|see you|speak soon|until|hugs|xo+)\b)"
)


_LETTERS = rf"[[\p{{L}}\p{{N}}]--[{UNSPACED}]]"
_RUN = rf"{_LETTERS}(?:{_LETTERS}|{SIGNS})*"
_WORD = compile_unicode(
    rf"(?:\b[A-Z]\.){{2,}}(?!\w)|[[{UNSPACED}]&&[\p{{L}}\p{{N}}]]{SIGNS}*|{_RUN}(?:(?:['\-]|(?<=\d)[.,:](?=\d)){_RUN})*",
)
_MARKER = re.compile(r"[ \t]*(?:[-*+•‣–]|\(?\d{1,3}[.)]|\(?[a-z][.)])[ \t]+(?=\S)")
_HEADING = re.compile(r"#{1,6} +\S")
_END = re.compile(r"(?<![.!?…])[.!?…]+[\"'”’)\]»*_]*(?=\s|$)|[。！？]+[」』”）]*")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"“])(?:[A-HJ-Z]|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Lt|Col|Gen|Capt|Sgt|Sen|Rep|Gov|Rev|Hon|Fig|Mt|vs|cf|ca|"
    r"approx|e\.g|i\.e|[A-Z](?:\.[A-Z])+)\.$"
)
_NUMBER = re.compile(r"(?:^|\W)[Nn]o\.$")
_TERMINAL = (".", "!", "?", "…", ":", ";", '"', "”", "'", ")", "。", "！", "？")
_WRAP_COLUMNS = range(45, 101)


@dataclass(frozen=True, slots=True)
class ParsedText:
    """The parts of a text that features measure.

    Attributes:
        prose: the text with straight apostrophes, without list markers.
        words: its words in lower case, numbers included.
        cased: the same words as written.
        sentences: the words of each sentence, lower case, without greeting, sign-off and headings.
        paragraphs: the length of each paragraph in words, without greeting and sign-off.
        list_items: the number of lines that are list items.
        headings: the number of lines that are Markdown headings.
        greeting: whether the text opens with a greeting.
        sign_off: whether the text closes with a sign-off.
    """

    prose: str
    words: list[str]
    cased: list[str]
    sentences: list[list[str]]
    paragraphs: list[int]
    list_items: int
    headings: int
    greeting: bool
    sign_off: bool


def words_of(text: str) -> list[str]:
    """The words of a text as written; ``8,200``, ``4:45`` and ``U.S.`` are one word each.

    In a script without spaces between words, each character counts as one.
    """
    found: list[str] = _WORD.findall(text.replace("’", "'"))
    return found


_TOLD_FROM = 2_000  # characters: enough to tell a language, and quick for a book
_FEWEST_TOLD, _ENGLISH_SHARE = 3, 0.2
_SUREST_ENGLISH, _LEAST_SURE = 0.05, 0.4
_AFTER_LATIN = "\u0250"


def tell_language(text: str) -> str | None:
    """Tell the language of a text by its beginning.

    Function words tell English. Anything else is told by py3langid, a naive Bayes classifier of character n-grams (Lui
    and Baldwin, 2012), where it is sure that the text is not English: of 46,548 English texts it took none for another
    language.

    Returns:
        Its ISO 639 code; None where it cannot be told, as of two words or of code.
    """
    return _tell_language(text[:_TOLD_FROM])


@lru_cache(maxsize=1024)
def _tell_language(beginning: str) -> str | None:
    words = words_of(beginning)
    known = load_function_words()
    if len(words) >= _FEWEST_TOLD and sum(word.lower() in known for word in words) >= _ENGLISH_SHARE * len(words):
        return ENGLISH
    letters = sum(map(str.isalpha, beginning))
    is_latin = 2 * sum(char.isalpha() and char < _AFTER_LATIN for char in beginning) >= letters
    if is_latin and len(words) < _FEWEST_TOLD:
        return None
    ranked: dict[str, float] = dict(_load_classifier().rank(beginning))
    best = max(ranked, key=lambda code: ranked[code])
    if not is_latin:
        return best
    if best == ENGLISH or ranked[best] < _LEAST_SURE:
        return ENGLISH if best == ENGLISH and ranked[best] >= _LEAST_SURE else None
    return best if ranked[ENGLISH] < _SUREST_ENGLISH else None


def languages_of(texts: Sequence[str]) -> list[str]:
    """The languages of one person's texts: one that cannot be told alone is taken to be in the language of the others.

    Args:
        texts: the person's.

    Returns:
        ISO 639 codes; English where nothing tells of another language.
    """
    told = [tell_language(text) for text in texts]
    known = [language for language in told if language is not None]
    # Short texts may tell together what none tells alone.
    usual = max(known, key=known.count) if known else tell_language("\n".join(text[:200] for text in texts)) or ENGLISH
    return [language or usual for language in told]


@cache
def _load_classifier() -> Any:
    # Takes a second and a hundred megabytes; most English texts never need it.
    langid = import_module("py3langid.langid")
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


def sentence_ends(text: str) -> list[int]:
    """Where sentences end in running text: offsets after the closing mark."""
    ends = []
    for match in _END.finditer(text):
        rest = text[match.end() : match.end() + 8].lstrip(" \t\n\"'“‘(*_")
        if rest[:1].islower():
            continue
        if rest[:1].isdigit() and _NUMBER.search(text, max(0, match.start() - 4), match.start() + 1):
            continue
        if match.group().startswith(".") and _ABBREVIATION.search(text, max(0, match.start() - 12), match.start() + 1):
            continue
        ends.append(match.end())
    return ends


def _split_sentences(block: str) -> list[list[str]]:
    ends = sentence_ends(block)
    pieces = [block[start:end] for start, end in zip([0, *ends], [*ends, len(block)], strict=True)]
    sentences = ([word.lower() for word in words_of(piece)] for piece in pieces)
    return [sentence for sentence in sentences if sentence]


def _is_wrapped(lines: list[str]) -> bool:
    """Whether lines are one paragraph wrapped at a fixed column, as in plain-text mail."""
    head = [line for line in lines[:-1] if not _MARKER.match(line)]
    if len(head) < 2 or max(map(len, head)) > _WRAP_COLUMNS.stop or median(map(len, head)) < _WRAP_COLUMNS.start:
        return False
    return sum(line.rstrip().endswith(_TERMINAL) for line in head) * 2 < len(head)


def _greeting_lines(lines: list[str]) -> tuple[bool, int]:
    """Whether the text opens with a greeting, and how many of its first lines are nothing else."""
    first = lines[0].strip() if lines else ""
    count = len(words_of(first))
    if GREETING.match(first.lower()):
        return True, int(count <= 8 and len(lines) > 1)
    alone = len(lines) > 1 and 1 <= count <= 4 and first.endswith(",")
    return alone, int(alone)


def _sign_off_lines(lines: list[str]) -> int:
    """How many of the last lines are a sign-off: a closing phrase, a name, or both."""
    for back in range(min(4, len(lines) - 1), 0, -1):
        line = lines[-back].strip()
        count = len(words_of(line))
        short = 1 <= count <= 8 and not line.endswith(("?", ":", ";")) and (count <= 4 or not line.endswith("."))
        if short and SIGN_OFF.match(line.lower()) and all(len(words_of(after)) <= 6 for after in lines[-back:][1:]):
            return back
    last = lines[-1].strip() if len(lines) > 1 else ""
    name = re.sub(r"^[-–—~]+ *", "", last)
    is_name = bool(re.fullmatch(r"[^\W\d_a-z][\w'.]*(?: [^\W\d_a-z][\w'.]*)?", name))
    return int(is_name and not lines[-2].rstrip().endswith(","))


def _chunks(lines: list[str]) -> list[list[str]]:
    """Runs of lines between blank ones."""
    chunks: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            chunks[-1].append(line)
        elif chunks[-1]:
            chunks.append([])
    return [chunk for chunk in chunks if chunk]


def _blocks(chunk: list[str]) -> list[str]:
    """The blocks of a chunk within which a sentence may span lines."""
    if not _is_wrapped(chunk):
        return chunk
    blocks: list[str] = []
    for line in chunk:
        if blocks and not _MARKER.match(line):
            blocks[-1] += " " + line
        else:
            blocks.append(line)
    return blocks


def _paragraphs(blocks: list[str]) -> list[int]:
    """Words per paragraph of one chunk: lines of whole sentences are paragraphs, lists and verses are one."""
    counts = [len(words_of(block)) for block in blocks]
    prose = all(block.rstrip().endswith(_TERMINAL) and not _MARKER.match(block) for block in blocks)
    return counts if prose and min(counts, default=0) >= 8 else [sum(counts)]


def parse(text: str) -> ParsedText:
    """Parse a text; an empty one has no words, sentences or paragraphs."""
    lines = text.replace("’", "'").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    filled = [line for line in lines if line.strip()]
    greeting, opening = _greeting_lines(filled)
    closing = _sign_off_lines(filled[opening:]) if len(filled) > opening + 1 else 0
    seen, body = 0, []
    for line in lines:
        seen += bool(line.strip())
        body.append("" if line.strip() and (seen <= opening or seen > len(filled) - closing) else line)
    sentences: list[list[str]] = []
    paragraphs: list[int] = []
    for chunk in _chunks([line for line in body if not _HEADING.match(line)]):
        blocks = _blocks(chunk)
        paragraphs.extend(count for count in _paragraphs(blocks) if count)
        for block in blocks:
            sentences.extend(_split_sentences(_MARKER.sub("", block, count=1) if _MARKER.match(block) else block))
    prose = "\n".join(line[match.end() :] if (match := _MARKER.match(line)) else line for line in lines)
    cased = words_of(prose)
    return ParsedText(
        prose=prose,
        words=[word.lower() for word in cased],
        cased=cased,
        sentences=sentences,
        paragraphs=paragraphs,
        list_items=sum(bool(_MARKER.match(line)) for line in lines),
        headings=sum(bool(_HEADING.match(line)) for line in lines),
        greeting=greeting,
        sign_off=closing > 0,
    )
