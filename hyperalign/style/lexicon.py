"""The English word lists that some features count.

Words are lower case, with a straight apostrophe. This file knows no text and counts nothing.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

__all__ = [
    "BOOSTERS",
    "CONJUNCTIONS",
    "CONTRACTION",
    "FIRST_PLURAL",
    "FIRST_SINGULAR",
    "GREETING",
    "HEDGES",
    "IMPERATIVES",
    "NEGATIONS",
    "SECOND_PERSON",
    "SIGN_OFF",
    "function_words",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> re.Pattern[str]:
    """Match any of the comma-separated phrases as whole words, the longest first."""
    phrases = sorted((phrase.strip() for phrase in text.split(",")), key=len, reverse=True)
    return re.compile(rf"(?<![\w'])(?:{'|'.join(map(re.escape, phrases))})(?![\w'])")


@cache
def function_words() -> frozenset[str]:
    """The words that hold a sentence together and carry no topic."""
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
