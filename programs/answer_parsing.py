"""Parses what a model's prose says: which of two answers it settles on, or the one sentence that it was asked for.

A conclusion takes precedence over an answer at the beginning, which counts only if the rest does not contradict it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from hyperalign.text import UNSPACED

__all__ = [
    "LETTERS",
    "NAMED",
    "WORD",
    "AnswerPair",
    "ParsedAnswer",
    "answer_index",
    "blank",
    "blank_thoughts",
    "parse_answer",
    "parse_sentence",
]

AnswerPair = tuple[str, str]
"""Two answers, of which neither is a prefix of the other."""

LETTERS: AnswerPair = ("A", "B")

NAMED = (
    r"(?:texte?|texto|testo|answer|option|choice|response|passage|letter|candidate|version|antwort|r[ée]ponse|respuesta"
    r"|risposta|resposta|opci[óo]n|文本|文章|答案|选项|選項|选择|答え|テキスト|정답|답|텍스트)"
)
"""Matches words that precede a letter, in the languages in which models answer most."""

WORD = rf"[^\W{UNSPACED}\uac00-\ud7af]"
"""A character that makes a letter beside it part of a word; Chinese, Japanese and Korean ones need no space."""


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """One answer that was found in a text.

    Attributes:
        meant: which of the two, 0 or 1; None where the model says that it is neither or both.
        at: where it stands.
    """

    index: int | None
    at: int = -1


_LEADING = (
    r"(?:the|my|it|this|that|is|s|would|be|better|best|correct|final|one|of|two|i|d|ll|choose|pick|say|think|but|well|okay|ok"
    rf"|sure|yes|yeah|certainly|absolutely|so|die|ist|la|le|el|est|es|der|ich|je|{NAMED})"
)
_ADVERBS = (
    r"(?:also|clearly|definitely|probably|likely|most|really|just|simply|surely|certainly|obviously|indeed|still"
    r"|therefore|thus|then|only|much|far|slightly|somewhat|overall)"
)
# Any verb in the third person ends in "s", and few nouns do: "A mentions", but not "A class" or "A focus".
_VERBS = (
    r"(?:fit|suit|match|was|had|do|would|could|can|might|may|must|should|will|is|has|does|passt|entspricht|klingt|wirkt"
    r"|ist|est|es|correspond|convient|encaja|corresponde|\w+n['’]t|\w{2,}[^\Wsiu]s)"
)
_REASON = r"(?:because|since|as|for|due|given|weil|da|denn|car|parce|porque|puisque)"
_AFTER_LETTER = (
    rf"(?:{_ADVERBS}\s+)?(?:{_VERBS}|{_REASON}|(?:better|best)\s+{_VERBS}|or|and|nor|vs|versus|but|over|than|rather"
    r"|instead|not|while|whereas|to|in|on|here|oder|und|ou|et)\b"
)
_WORD = re.compile(r"\w+")
_GROUNDS = r"(?i:(?:based on|given|considering|judging by|in terms of)\b[^.,;:\n]{0,80},\s*)?"
_UNSPACED_LEADING = rf"(?:(?![不没沒非無])[{UNSPACED}\uac00-\ud7af \"“「『（：:]){{0,12}}"

_AGAINST = re.compile(
    r"\b(?:not|no|never|none|neither|nor|hardly|barely|without|cannot|less|least|worse|worst|weak(?:er|est)?"
    r"|poor(?:er|ly)?|bad(?:ly)?|wrong|incorrect|false|inferior|lack\w*|fail\w*|miss(?:es|ing)|unlikely|unclear|unsuitable|contradict\w*"
    r"|conflict\w*|opposite|against|opposed|reject\w*|ruled|excluded|far from|too|nicht|kein\w*|weniger|schlechter"
    r"|falsch|ohne|pas|moins|sans|faux|menos|peor|sin|non|nunca|jamais)\b|n['’]t\b|[不没沒非無]|ない|않|아니",
    re.I,
)
_IDIOMS = r"\b(?:(?:no|without(?: an?y?)?|beyond)\s+(?:doubt|question)|not (?:only|just)|nothing but)\b"
_OPEN = re.compile(
    r"\b(?:not|never|no|cannot|hardly|neither|wrong|incorrect|false|worse|worst|weaker|less|least|if|whether|unless|might"
    r"|could|may|initially|nicht|pas|kein\w*)\b|n['’]t\b|[不没沒非無]",
    re.I,
)
_PREFERRED = re.compile(
    r"\b(?:better|best|closer|closest|right|correct|preferred|preferable|superior|wins|besser|mieux|mejor|meglio"
    r"|more (?:likely|like|fitting|suitable|suited|appropriate|apt|consistent|closely|clearly|strongly|in line"
    r"|aligned))\b|[更最]|[比较較]好|より|더 ",
    re.I,
)
_FITS = re.compile(
    r"\b(?:fits?|suits?|match(?:es)?|right|correct|passt|entspricht|correspond\w*|encaja)\b|符合|合适|です|입니다", re.I
)
# What a sentence says of its subject when it takes it and does not merely describe it: "A does", "A is my choice".
_TAKES = re.compile(
    r"^\W*(?:do|does|did|would|has)?\W*$|\b(?:answer|choice|pick|picked|winner|preference|one|chosen|selected)\b",
    re.I,
)
_CONTRAST = re.compile(r"\b(?:but|however|yet|while|whereas|if|unless|though|although|despite|aber|mais|pero)\b", re.I)
_UNDECIDED = re.compile(
    r"\b(?:neither|both|either|equal|equally|undecided|undetermined|unclear|unsure|none|tie|n/a|not sure"
    r"|can(?:no|['’])t (?:tell|say|decide|be (?:told|decided))|weder|beide|unentschieden|les deux|ambos)\b",
    re.I,
)
_SENTENCE = re.compile(r"[.;!?\n]")
_GIVES_REASON = re.compile(rf"\W*{_REASON}\b", re.I)
_REASON_INSIDE = re.compile(
    r"\b(?:because|since|due to|weil|denn|car|parce|porque|puisque)\b|,\s*(?:as|for|da)\b", re.I
)
_SUBJECTLESS = (
    rf"(?:(?:is|are|was|does|do|has|seems|reads|sounds|looks|which|that|much|far|{_ADVERBS})\W+){{0,3}}"
    rf"(?:{_AGAINST.pattern}|\w+n['’]t\b)"
)
_BELITTLED = re.compile(rf"[^\w.\n]*{_SUBJECTLESS}", re.I)
_DENIED = re.compile(rf"\W*{_SUBJECTLESS}\W*(?:[.,;!\n]|$)", re.I)

_CUES = (
    r"(?:so|therefore|thus|hence|consequently|accordingly|daher|deshalb|donc|quindi|tanto|因此|所以"
    r"|it(?:['’]s|\s+(?:is|must be|has to be|should be|would be))"
    r"|(?:choose|choosing|chose|pick|picking|select|prefer|say|guess|conclude|favou?r|wähle|nehme|choisis|elijo|escojo"
    r"|scelgo|vote(?: for)?|go(?:ing)? (?:with|for)|opt for|settle (?:on|for)|lean(?:ing)? towards?)"
    rf"|(?:{NAMED}|fit|match|one|verdict|pick|winner|preference|conclusion|vote|solution|result|selection|label|wahl"
    r"|choix|ergebnis)[\"'”]?\s*(?:is|would be|must be|should be|has to be|ist|est|es|è|é|lautet|:|=))"
)
_BETWEEN = rf"(?:(?:that|the|to|be|it|is|s|i|choose|pick|{_ADVERBS}|{NAMED})\W{{1,6}}){{0,4}}"


@dataclass(frozen=True, slots=True)
class _Patterns:
    """Matches two answers in a text from ``_normalize``."""

    one: re.Pattern[str]
    discarded: re.Pattern[str]
    leading: re.Pattern[str]
    concluded: re.Pattern[str]
    last: re.Pattern[str]
    object: re.Pattern[str]
    undecided: re.Pattern[str]


@cache
def _patterns(answers: AnswerPair) -> _Patterns:
    one = rf"(?<!{WORD})({'|'.join(re.escape(answer) for answer in answers)})(?!{WORD}|-\w)"
    named = rf"(?i:(?:the\s+)?(?:{NAMED}\s+)?)[\"'(]?"
    return _Patterns(
        one=re.compile(one),
        discarded=re.compile(
            r"(?i:\b(?:not|rather than|instead of|over|unlike|compared (?:to|with)|nicht|statt|non)|\((?:vs\.?|versus))"
            rf"\s+{named}{one}|(?i:{_IDIOMS})"
        ),
        leading=re.compile(rf"\W*{_GROUNDS}(?i:(?:{_LEADING}\W+)*){_UNSPACED_LEADING}{one}"),
        concluded=re.compile(rf"(?i:\b{_CUES}(?!\w)\W{{0,12}}{_BETWEEN}){one}"),
        last=re.compile(rf"[:\-–—>=|.!?\n]\W{{0,12}}{named}{one}[^\w?]*$"),
        object=re.compile(
            r"(?i:\b(?:fits|suits|matches|describes|favou?rs|points (?:to|towards?)|is|seems|looks|sounds|appears))\s+"
            rf"(?i:(?:{_ADVERBS}\s+){{0,2}}){named}{one}"
        ),
        undecided=re.compile(rf"{one}\s*(?i:or|and|/|&|oder|und|ou|et)\s*{named}{one}"),
    )


def answer_index(said: str, answers: AnswerPair) -> int:
    """The index of an answer, 0 or 1, in any case."""
    return 0 if said.casefold() == answers[0].casefold() else 1


def parse_answer(
    text: str, answers: AnswerPair = LETTERS, start: int = 0, *, is_listed: bool = False
) -> ParsedAnswer | None:
    """Parse the one answer that a text gives.

    Args:
        text: prose without markup.
        answers: the two.
        start: where the text begins in the whole that ``ParsedAnswer.at`` counts in.
        is_listed: whether it stands behind the number of its question. There, a description of one text is a verdict
            ("2: A mentions her kids"); elsewhere it may go on with the other text.

    Returns:
        None if the text gives no answer or several, or speaks against the one that it begins with.
    """
    known = _patterns(answers)
    shown = _normalize(text, answers)
    if answers == LETTERS and not known.one.search(shown):
        shown = _to_letters(shown)
    shown = known.discarded.sub(blank, shown)
    if _names_both_alone(shown, answers, known):
        return ParsedAnswer(None)
    conclusions = _find_conclusions(shown, known)
    if conclusions:
        meant = {found[1] for found in conclusions}
        found = conclusions[-1] if len(meant) == 1 else None
    elif led := known.leading.match(shown):
        if _leaves_open(shown[led.end() :], known):
            return ParsedAnswer(None)
        found = led if _holds(shown[led.end() :], led[1], known, is_listed=is_listed) else None
    else:
        found = _find_preferred(shown, known)
        if found is None:
            return ParsedAnswer(None) if _UNDECIDED.search(text) or known.undecided.search(shown) else None
    return None if found is None else ParsedAnswer(answer_index(found[1], answers), start + found.start(1))


def blank(match: re.Match[str]) -> str:
    """Spaces in place of a match, so that all positions stay."""
    return re.sub(r"[^\n]", " ", match[0])


_THOUGHT = re.compile(
    r"<((?:seed:)?think|thinking|thoughts?|reasoning|scratchpad|analysis|reflection)>.*?(?:</\1>|$)"
    r"|\[think\].*?(?:\[/think\]|$)|◁think▷.*?(?:◁/think▷|$)"
    r"|<\|channel\|?>(?!final).*?(?:<\|channel\|>final<\|message\|>|<channel\|>|$)|^.*</(?:seed:)?think(?:ing)?>",
    re.I | re.S,
)


def blank_thoughts(text: str) -> str:
    """Blank out what a model thought before its answer, all of it where the thought has no end; positions stay."""
    return _THOUGHT.sub(blank, text)


_TAG = re.compile(r"<[/|]?[\w｜][^<>\n]{0,30}>|^\s*```\w*\s*$|[*`]{1,3}", re.M)
_LABEL = re.compile(
    r"^\W*(?:[\w'’]+[!,.]?\s+){0,8}?(?:opposite|statement|answer|sentence)(?:\s+(?:is|would be|statement))*\s*:\s*",
    re.I,
)
_ENDS = (".", "!", "?", "…", "。", "！", "？", "।", "؟")


def parse_sentence(text: str, max_bytes: int) -> str:
    """Parse the one sentence that a model was asked for, without thoughts, markup, a label or quotation marks.

    Args:
        text: what it wrote.
        max_bytes: its token limit. No token is shorter than a byte of UTF-8, so that a shorter text was not cut by it.

    Returns:
        The sentence; empty if there is none, or if it may be cut: a part would mean something else.
    """
    lines = [line.strip() for line in _TAG.sub("", blank_thoughts(text)).splitlines()]
    said = [rest for line in lines if (rest := _LABEL.sub("", line).strip(" \t\"'“”„«»-•"))]
    is_cut = len(text.encode()) >= max_bytes and len(said) == 1 and not said[0].endswith(_ENDS)
    return "" if not said or is_cut else said[0]


_SMALL = re.compile(
    rf"(?<![\w'’])b(?![\w'’])|(?i:\b{NAMED}\s+[\"'(]?)a(?=\W*$|\s*[^\w\s]|\s+{_VERBS}\b)|[:=(\[\"]\s*a(?=\s*(?:[.)\]\"}},;\n]|$))"
)
_ARTICLE = re.compile(rf"(?<!\w)A(?=[^\S\n]+(?!(?i:{_AFTER_LETTER}))[^\W\d_])")
_BEFORE_LETTER = re.compile(rf"\b{NAMED}\W{{1,3}}$", re.I)
_SHORT = re.compile(rf"\W*(?:{_LEADING}\W+)*[ab]\W*(?:(?:(?:or|and)\W+)?[ab]\W*)?", re.I)


def _normalize(text: str, answers: AnswerPair) -> str:
    """Spell the answers, and nothing else, as given: "A" may be an article, and "a" an answer."""
    if answers != LETTERS:
        either = "|".join(re.escape(answer) for answer in answers)
        return re.sub(rf"\b(?:{either})\b", lambda match: answers[answer_index(match[0], answers)], text, flags=re.I)
    if _SHORT.fullmatch(text):
        return re.sub(r"\b[ab]\b", lambda match: match[0].upper(), text)

    def article(match: re.Match[str]) -> str:
        before = text[max(0, match.start() - 16) : match.start()]
        return "A" if _BEFORE_LETTER.search(before) else "a"

    shown = _ARTICLE.sub(article, text)
    return _SMALL.sub(lambda match: match[0][:-1] + match[0][-1].upper(), shown)


_FIRST = r"first|former|1st|erste[nrs]?|premier|première|primer[ao]?|prim[ao]"
_SECOND = r"second|latter|2nd|zweite[nrs]?|seconde|deuxième|segund[ao]|second[ao]"
# "The second", "text 2", "第二篇"; but not "the second person", nor "First, both are formal".
_PLACED = re.compile(
    rf"\b(?:the|der|die|das|le|la|el|il)\s+(?:(?P<a>{_FIRST})|{_SECOND})(?:\s+(?:one|{NAMED}))?"
    rf"(?=\W*$|\s*[^\w\s-]|\s+{_AFTER_LETTER})"
    rf"|\b(?:(?P<b>{_FIRST})|{_SECOND})\s+(?:one|{NAMED})(?=\W*$|\s*[^\w\s-]|\s+{_AFTER_LETTER})"
    rf"|\b{NAMED}\s*(?:number\s+|no\.?\s*|#\s*)?(?:(?P<c>1)|2)(?![\w/]|[.,]\d)"
    r"|(?:(?P<d>第[一1]|1番目|一つ目|첫 ?번째)|第[二2]|2番目|二つ目|두 ?번째)[个個篇段条份]?(?:文本|文章|选项|答案)?",
    re.I,
)
_PLACE_ALONE = re.compile(rf"\W*(?:(?P<a>{_FIRST})|{_SECOND})\W*", re.I)


def _to_letters(text: str) -> str:
    """Spell as letters the answers of a text that names them by their place, each at the beginning of its phrase."""
    if alone := _PLACE_ALONE.fullmatch(text):
        return ("A" if alone["a"] else "B").ljust(len(text))

    def letter(match: re.Match[str]) -> str:
        return ("A" if any(match.groupdict().values()) else "B").ljust(len(match[0]))

    return _PLACED.sub(letter, text)


_NO_CONTENT = re.compile(rf"(?:{_LEADING}|or|and|nor|vs|versus|oder|und|ou|et)", re.I)


def _names_both_alone(shown: str, answers: AnswerPair, known: _Patterns) -> bool:
    """Whether a text names each answer once and says nothing else: "A or B", "Text A, text B"."""
    if sorted(found[1] for found in known.one.finditer(shown)) != sorted(answers):
        return False
    return all(word in answers or _NO_CONTENT.fullmatch(word) for word in _WORD.findall(shown))


_JOINS = re.compile(r"\b(?:not|nor|than|or|and|vs)\s*$", re.I)


def _find_conclusions(shown: str, known: _Patterns) -> list[re.Match[str]]:
    """Find the conclusions of a text: the answer that it ends with, else all that follow a concluding phrase."""
    last = known.last.search(shown)
    if last and not _JOINS.search(shown[max(0, last.start() - 8) : last.start()]):
        return [last]
    return [found for found in known.concluded.finditer(shown) if _is_meant(found, shown, known)]


_CLAUSE = re.compile(rf"[.,;:!?\n()—–]|\s-\s|\b(?:but|{_REASON})\b", re.I)
_NO_ANSWER = re.compile(r"\s*(?:(?:that|who|which)\b|['’]s\b)", re.I)


def _is_meant(found: re.Match[str], shown: str, known: _Patterns) -> bool:
    """Whether the clause around an answer neither denies it nor says something else about it."""
    before = re.split(r"[.,;:!?\n]|\bbut\b", shown[max(0, found.start() - 40) : found.start()])[-1]
    after = _CLAUSE.split(shown[found.end(1) : found.end(1) + 120].lstrip("\"')]"), maxsplit=1)[0]
    if _OPEN.search(before) or _AGAINST.search(after) or _NO_ANSWER.match(after):
        return False
    if _leaves_open(shown[found.end(1) : found.end(1) + 60], known):
        return False
    says = re.match(rf"\s*(?:{_ADVERBS}\s+)?{_VERBS}\b", after, re.I)
    return not says or bool(_PREFERRED.search(after) or (_FITS.search(after) and not known.one.search(after)))


def _leaves_open(rest: str, known: _Patterns) -> bool:
    """Whether the other answer is joined to this one: "A or …", "A and B"."""
    if re.match(r"\W*(?:or|nor|oder|ou)\b", rest, re.I):
        return True
    joined = re.match(rf"[\s)\"',]*(?:(?:and|und|et|y)\b|[/&])\W*(?:(?:maybe|also|{NAMED})\W+){{0,2}}", rest, re.I)
    return joined is not None and known.one.match(rest, joined.end()) is not None


_LISTED = re.compile(r"\s*[:)=(|–-]")


def _holds(rest: str, said: str, known: _Patterns, *, is_listed: bool) -> bool:
    """Whether the rest of a text does not contradict the answer at its beginning."""
    others = [other for other in known.one.finditer(rest) if other[1] != said]
    if any(_prefers(rest, other.end()) for other in others):
        return False
    if _GIVES_REASON.match(rest):
        return True
    if re.match(r"[\"'’)\]]*[ \t]*(?:\w|['’]s)", rest):
        return _speaks_for(rest, others, is_listed=is_listed)
    if _BELITTLED.match(rest) or _DENIED.match(rest):
        return False
    # A list of both is no answer: "A: formal. B: friendly.", nor is "A, but B …".
    return not any(
        _LISTED.match(rest, other.end())
        or re.search(r"\b(?:but|however|yet)\b[^.;\n]*$", rest[max(0, other.start() - 60) : other.start()], re.I)
        for other in others
    )


def _prefers(text: str, at: int) -> bool:
    """Whether the clause that goes on at a position calls its subject the better one."""
    clause = _CLAUSE.split(text[at : at + 120].lstrip("\"')]"), maxsplit=1)[0]
    says = re.match(rf"\s*(?:{_ADVERBS}\s+)?(?:{_VERBS}|better|best|besser)\b", clause, re.I)
    return bool(says and _PREFERRED.search(clause) and not _AGAINST.search(clause))


def _speaks_for(rest: str, others: list[re.Match[str]], *, is_listed: bool) -> bool:
    """Whether a sentence whose subject is an answer is for it: "A fits better than B", but not "A is weaker"."""
    end = _SENTENCE.search(rest)
    sentence = rest[: end.start() if end else len(rest)]
    claim = sentence[: reason.start()] if (reason := _REASON_INSIDE.search(sentence)) else sentence
    contrast = _CONTRAST.search(claim)
    mine = claim[: min([len(claim), *(other.start() for other in others), *([contrast.start()] if contrast else [])])]
    theirs = claim[len(mine) :]
    if _AGAINST.search(mine):
        return False
    if _PREFERRED.search(mine):
        # "A fits better, but B …" takes it back; "A fits better, although it is short" does not.
        return not (others and re.match(r"(?:but|however|yet|if|unless)\b", theirs, re.I))
    if _FITS.search(mine):
        return not theirs or bool(others and _AGAINST.search(theirs) and not _FITS.search(theirs))
    return not others and not contrast and (is_listed or bool(_TAKES.search(mine)))


def _find_preferred(shown: str, known: _Patterns) -> re.Match[str] | None:
    """Find the one answer that a text without a conclusion calls the better one, anywhere."""
    found = [each for each in known.one.finditer(shown) if _prefers(shown, each.end())]
    found = [each for each in (*found, *known.object.finditer(shown)) if _is_meant(each, shown, known)]
    return found[-1] if len({each[1] for each in found}) == 1 else None
