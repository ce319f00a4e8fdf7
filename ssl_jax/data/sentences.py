"""Splits English prose into sentences by rules.

A sentence ends at ".", "!", "?" or "…", including closing quotes and brackets after it, if a space and a character that
can begin a sentence follow. A full stop does not end a sentence after an abbreviation, after initials ("J.", "U.S."),
after a number that begins the text ("1. First"), or inside open brackets.
"""

import re

# Abbreviations before a name, a number or the rest of a phrase: the next word may be capitalised.
_NEVER_LAST = (
    r"mr|mrs|ms|dr|prof|rev|hon|st|gen|col|capt|lt|sgt|gov|sen|rep|pres|messrs|vs|cf|eqs?|figs?|secs?|ch|vols?|pp"
    r"|eds?|refs?|approx|resp|viz|al"
)
_INITIALS = r"(?:[^\W\d_]\.)*[^\W\d_]"  # J. or U.S. or e.g.
_NOT_AN_END = re.compile(
    rf"(?:.*\W)?(?:(?:{_NEVER_LAST})|(?!I\.){_INITIALS})\.[\"'”’»)\]]*|\d{{1,3}}\.", re.I | re.S
)
_CANDIDATE = re.compile(
    r"""(?<=[.!?…])        # the end of a sentence
        ["'”’»)\]]*        # with what closes after it
        (\s+)
        (?=["'“‘«(\[`*]*[A-Z0-9À-ÖØ-Þ])""",
    re.VERBOSE,
)


def split_sentences(text: str) -> list[str]:
    """The sentences of one paragraph; white space is normalised, and no other character is lost.

    Example:
      >>> split_sentences("Dr. J. Smith paid $3.50 (approx. 3 euros). Why? He knew.")
      ['Dr. J. Smith paid $3.50 (approx. 3 euros).', 'Why?', 'He knew.']
    """
    sentences, start = [], 0
    for candidate in _CANDIDATE.finditer(text):
        sentence = text[start : candidate.start(1)]
        if _is_whole(sentence.strip()):
            sentences.append(sentence)
            start = candidate.end()
    sentences.append(text[start:])
    return [" ".join(sentence.split()) for sentence in sentences if sentence.strip()]


def _is_whole(sentence: str) -> bool:
    if (
        any(sentence.count(left) > sentence.count(right) for left, right in ("()", "[]"))
        and len(sentence) < 1000
    ):
        return False  # beyond that length, the open bracket was a smiley or a typing error
    return _NOT_AN_END.fullmatch(sentence) is None
