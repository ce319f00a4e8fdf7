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
_ABBREVIATION = re.compile(rf"(?:\W|\A)(?:{_NEVER_LAST})\Z", re.I)
_LONGEST_ABBREVIATION = 6
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"\w")
_PRONOUN = re.compile("I", re.I)
_NUMBER = re.compile(r"\d{1,3}\.")
_CLOSING = "\"'”’»)]"
_CANDIDATE = re.compile(
    r"""(?<=[.!?…])        # the end of a sentence
        ["'”’»)\]]*        # with what closes after it
        (\s+)
        (?=["'“‘«(\[`*]*[A-Z0-9À-ÖØ-Þ])""",
    re.VERBOSE,
)


def split_sentences(text: str) -> list[str]:
    """The sentences of one paragraph; white space is normalised, and no other character is lost.

    The time is proportional to the length of the paragraph.

    Example:
      >>> split_sentences("Dr. J. Smith paid $3.50 (approx. 3 euros). Why? He knew.")
      ['Dr. J. Smith paid $3.50 (approx. 3 euros).', 'Why?', 'He knew.']
    """
    text = text.strip()
    sentences, start, counted = [], 0, 0
    open_round = open_square = 0
    for candidate in _CANDIDATE.finditer(text):
        end = candidate.start(1)
        # Each part of the text is counted once, because a sentence may have many candidates.
        open_round += text.count("(", counted, end) - text.count(")", counted, end)
        open_square += text.count("[", counted, end) - text.count("]", counted, end)
        counted = end
        # From that length on, the open bracket was a smiley or a typing error.
        inside_brackets = max(open_round, open_square) > 0 and end - start < 1000
        if not (inside_brackets or _ends_in_abbreviation(text, start, end)):
            sentences.append(text[start:end])
            start = candidate.end()
            open_round = open_square = 0
    sentences.append(text[start:])
    return [" ".join(sentence.split()) for sentence in sentences if sentence]


def _ends_in_abbreviation(text: str, start: int, end: int) -> bool:
    """Whether `text[start:end]` ends in an abbreviation or initials, or is only a number: "1."."""
    if end - start <= 4 and _NUMBER.fullmatch(text, start, end):
        return True
    while text[end - 1] in _CLOSING:
        end -= 1
    if text[end - 1] != ".":
        return False
    stop = end - 1  # after the letters
    # One character more than the longest abbreviation shows that it begins a word.
    if _ABBREVIATION.search(text[max(start, stop - _LONGEST_ABBREVIATION - 1) : stop]):
        return True
    while stop > start and _LETTER.match(text, stop - 1):
        letter = stop - 1
        begins = letter == start or not _WORD.match(text, letter - 1)
        if begins and not _PRONOUN.match(text, letter):
            return True
        # "I." is a pronoun at the end of a sentence, unless initials come before it: "A.I."
        if letter == start or text[letter - 1] != ".":
            return False
        stop = letter - 1
    return False
