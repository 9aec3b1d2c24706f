"""Word a measured difference as guidance that a writer can follow: a sentence for each end of each feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .features import FEATURES, FeatureKind

__all__ = ["SAYINGS", "Saying", "say"]


_MOST = "most people"


class Saying(NamedTuple):
    """A feature's sentences for more and for less; ``{value}`` is the writer's figure, ``{usual}`` most people's."""

    high: str
    low: str


SAYINGS: Mapping[str, Saying] = {
    "sentence_words": Saying(
        "Writes long sentences: {value} words on average, where most people write {usual}.",
        "Writes short sentences: {value} words on average, where most people write {usual}.",
    ),
    "sentence_spread": Saying(
        "Mixes long and short sentences: their lengths vary by {value} words, where most people's vary by {usual}.",
        "Keeps sentences even in length: they vary by {value} words, where most people's vary by {usual}.",
    ),
    "paragraph_words": Saying(
        "Writes long, unbroken paragraphs: {value} words each, where most people write {usual}.",
        "Breaks the text into short paragraphs: {value} words each, where most people write {usual}.",
    ),
    "word_letters": Saying(
        "Chooses long words: {value} letters on average, where most people have {usual}.",
        "Chooses short, everyday words: {value} letters on average, where most people have {usual}.",
    ),
    "long_words": Saying(
        "Chooses long words: {value} have seven letters or more, where most people have {usual}.",
        "Chooses short, everyday words: {value} have seven letters or more, where most people have {usual}.",
    ),
    "reading_ease": Saying(
        "Is very easy to read: a Flesch reading ease of {value}, where most people score {usual}.",
        "Writes densely, which asks effort of the reader: a Flesch reading ease of {value}, where most people "
        "score {usual}.",
    ),
    "variety": Saying(
        "Seldom repeats a word: {value} of any 50 words are different, where most people have {usual}.",
        "Repeats words rather than vary them: {value} of any 50 words are different, where most people have {usual}.",
    ),
    "function_words": Saying(
        "Writes in full, connected sentences, rich in small linking words: {value} of the words, where most people "
        "have {usual}.",
        "Writes in a clipped, noun-heavy way, with few small linking words: {value} of the words, where most people "
        "have {usual}.",
    ),
    "commas": Saying(
        "Uses many commas: {value}, where most people use {usual}.",
        "Uses few commas: {value}, where most people use {usual}.",
    ),
    "semicolons": Saying(
        "Joins thoughts with semicolons: {value}, where most people use {usual}.",
        "Avoids semicolons: {value}, where most people use {usual}.",
    ),
    "dashes": Saying(
        "Breaks sentences with dashes: {value}, where most people use {usual}.",
        "Avoids dashes: {value}, where most people use {usual}.",
    ),
    "parentheses": Saying(
        "Adds asides in parentheses: {value}, where most people use {usual}.",
        "Avoids parentheses: {value}, where most people use {usual}.",
    ),
    "colons": Saying(
        "Uses colons to announce what follows: {value}, where most people use {usual}.",
        "Avoids colons: {value}, where most people use {usual}.",
    ),
    "ellipses": Saying(
        "Lets sentences trail off with dots: {value}, where most people use {usual}.",
        "Never trails off with dots: {value}, where most people use {usual}.",
    ),
    "quotes": Saying(
        "Quotes words directly in quotation marks: {value}, where most people have {usual}.",
        "Hardly quotes anything in quotation marks: {value}, where most people have {usual}.",
    ),
    "numbers": Saying(
        "Gives exact figures in digits: {value}, where most people give {usual}.",
        "Avoids figures in digits: {value}, where most people give {usual}.",
    ),
    "capitals": Saying(
        "Uses words all in capitals: {value}, where most people use {usual}.",
        "Avoids words all in capitals: {value}, where most people use {usual}.",
    ),
    "contractions": Saying(
        'Uses contractions such as "don\'t" and "it\'s": {value}, where most people use {usual}.',
        "Writes words out in full instead of contracting them: {value}, where most people use {usual}.",
    ),
    "emoji": Saying(
        "Uses emoji: {value}, where most people use {usual}.",
        "Uses no emoji: {value}, where most people use {usual}.",
    ),
    "markdown": Saying(
        "Formats with headings, bold words or links: {value}, where most people use {usual}.",
        "Writes plain text without headings or bold words: {value}, where most people use {usual}.",
    ),
    "conjunction_openings": Saying(
        'Likes to start a sentence with "And", "But" or "So": {value} of sentences, where most people have {usual}.',
        'Does not start sentences with "And", "But" or "So": {value} of sentences, where most people have {usual}.',
    ),
    "list_items": Saying(
        "Sets things out as lists: {value}, where most people have {usual} as list items.",
        "Writes running prose rather than lists: {value}, where most people have {usual} as list items.",
    ),
    "questions": Saying(
        "Asks questions: {value}, where most people ask {usual}.",
        "States rather than asks: {value} as questions, where most people ask {usual}.",
    ),
    "exclamations": Saying(
        "Uses exclamation marks: {value}, where most people use {usual}.",
        "Avoids exclamation marks: {value}, where most people use {usual}.",
    ),
    "imperatives": Saying(
        "Tells the reader what to do: {value} of sentences open with an order, where most people have {usual}.",
        "Does not give orders: {value} of sentences open with one, where most people have {usual}.",
    ),
    "first_singular": Saying(
        'Speaks as "I", from personal experience: {value}, where most people have {usual}.',
        'Keeps out of the text and hardly says "I": {value}, where most people have {usual}.',
    ),
    "first_plural": Saying(
        'Speaks as "we", including others: {value}, where most people have {usual}.',
        'Hardly says "we": {value}, where most people have {usual}.',
    ),
    "second_person": Saying(
        'Addresses the reader as "you": {value}, where most people have {usual}.',
        'Hardly addresses the reader as "you": {value}, where most people have {usual}.',
    ),
    "hedges": Saying(
        'Qualifies statements with words such as "perhaps", "seems" and "might": {value}, where most people '
        "use {usual}.",
        'States things flatly, without "perhaps", "seems" or "might": {value}, where most people use {usual}.',
    ),
    "boosters": Saying(
        'Adds emphasis with words such as "really", "always" and "certainly": {value}, where most people use {usual}.',
        'Understates, without words such as "really", "always" and "certainly": {value}, where most people '
        "use {usual}.",
    ),
    "negations": Saying(
        'Often says what is not so ("not", "never", "don\'t"): {value}, where most people do so {usual}.',
        "Says what is rather than what is not: {value} of negation, where most people have {usual}.",
    ),
    "greeting": Saying(
        "Opens with a greeting: in {value} of texts, where most people do so in {usual}.",
        "Starts straight away, without a greeting: {value} of texts greet, where most people's do in {usual}.",
    ),
    "sign_off": Saying(
        "Closes with a sign-off or a name: in {value} of texts, where most people do so in {usual}.",
        "Stops without a sign-off: {value} of texts have one, where most people's do in {usual}.",
    ),
}


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def _rate(value: float) -> str:
    """A rate per 100 words in words."""
    if value < 0.04:
        return "almost none"
    if value >= 0.95:
        return f"{value:.1f}".removesuffix(".0") + " in 100 words" if value < 2.95 else f"{value:.0f} in 100 words"
    every = 100 / value
    step = 10 if every < 400 else 100
    return f"one in {step * round(every / step)} words"


def _figure(value: float, kind: FeatureKind, name: str) -> str:
    if kind in ("share", "flag"):
        return _share(value)
    if kind == "rate":
        return _rate(value)
    return f"{value:.1f}" if name == "word_letters" else f"{value:.0f}"


def say(name: str, direction: int, value: float, usual: float, *, than: str = _MOST) -> str:
    """Word a difference as one sentence.

    Args:
        name: the feature.
        direction: +1 if the writer has more than most people, -1 if less.
        value: the writer's figure, in the feature's unit.
        usual: the figure of those whom ``than`` names.
        than: whom the writer is compared with, in the plural.
    """
    kind = FEATURES[name].kind
    template = SAYINGS[name].high if direction > 0 else SAYINGS[name].low
    if than != _MOST:
        template = template.replace(f"{_MOST}'s", f"{than}'").replace(_MOST, than)
    here, there = _figure(value, kind, name), _figure(usual, kind, name)
    if here == there:
        # Equal figures would contradict the sentence.
        return template.partition(":")[0] + "."
    about = "about " if kind in ("count", "score") else ""
    return template.format(value=about + here, usual=there)
