"""What the phones of the synthesised speech sound like, and its words.

Formants of vowels are the averages of 33 men of Peterson & Barney 1952 (doi:10.1121/1.1906875, table II). Those of
consonants, and the centres of frication, are chosen after Klatt 1980 (doi:10.1121/1.383940, tables II and III).
Frequencies are in Hz, durations in seconds. Names of phones are ARPABET's; diphthongs are two vowels.
"""

from typing import NamedTuple

SILENCE = "SIL"


class Segment(NamedTuple):
    """A stretch of sound with constant targets.

    Attributes:
      seconds: duration.
      formants: F1, F2, F3; None to keep those of the neighbours.
      voicing: amplitude of the glottal pulses.
      aspiration: amplitude of noise at the glottis.
      frication: amplitude of noise at a constriction.
      centre: frequency of the frication.
      width: bandwidth of the frication.
      nasal: whether the first formant is wide, as in nasals.
    """

    seconds: float
    formants: tuple[float, float, float] | None = None
    voicing: float = 0.0
    aspiration: float = 0.0
    frication: float = 0.0
    centre: float = 2500.0
    width: float = 1000.0
    nasal: bool = False


def _vowel(*formants: float, seconds: float = 0.1) -> tuple[Segment, ...]:
    return (Segment(seconds, formants, voicing=1.0),)


def _glide(*formants: float) -> tuple[Segment, ...]:
    return (Segment(0.065, formants, voicing=0.6),)


def _nasal(*formants: float) -> tuple[Segment, ...]:
    return (Segment(0.075, formants, voicing=0.45, nasal=True),)


def _fricative(
    formants: tuple[float, float, float], frication: float, centre: float, width: float, voicing: float = 0.0
) -> tuple[Segment, ...]:
    seconds = 0.07 if voicing else 0.1
    return (Segment(seconds, formants, voicing, frication=frication, centre=centre, width=width),)


def _stop(
    formants: tuple[float, float, float], centre: float, width: float, voiced: bool
) -> tuple[Segment, ...]:
    closure = Segment(0.05, formants, voicing=0.1 if voiced else 0.0)
    burst = Segment(0.012, formants, frication=0.6, centre=centre, width=width)
    if voiced:
        return closure, burst
    return closure, burst, Segment(0.035, None, aspiration=0.25)


_LABIAL, _ALVEOLAR, _VELAR = (350.0, 1100.0, 2150.0), (350.0, 1600.0, 2600.0), (300.0, 1990.0, 2850.0)

PHONES: dict[str, tuple[Segment, ...]] = {
    SILENCE: (Segment(0.07),),
    "IY": _vowel(270, 2290, 3010),
    "IH": _vowel(390, 1990, 2550, seconds=0.08),
    "EH": _vowel(530, 1840, 2480),
    "AE": _vowel(660, 1720, 2410, seconds=0.12),
    "AH": _vowel(640, 1190, 2390, seconds=0.08),
    "AA": _vowel(730, 1090, 2440, seconds=0.12),
    "AO": _vowel(570, 840, 2410, seconds=0.12),
    "UH": _vowel(440, 1020, 2240, seconds=0.08),
    "UW": _vowel(300, 870, 2240),
    "ER": _vowel(490, 1350, 1690, seconds=0.11),
    "L": _glide(310, 1050, 2880),
    "R": _glide(310, 1060, 1380),
    "W": _glide(290, 610, 2150),
    "Y": _glide(260, 2070, 3020),
    "M": _nasal(270, 1000, 2150),
    "N": _nasal(270, 1400, 2500),
    "NG": _nasal(270, 1900, 2800),
    "F": _fricative((340, 1100, 2080), 0.10, 3000, 3000),
    "V": _fricative((240, 1100, 2080), 0.05, 3000, 3000, voicing=0.3),
    "S": _fricative((320, 1390, 2530), 0.25, 4800, 1200),
    "Z": _fricative((240, 1390, 2530), 0.15, 4800, 1200, voicing=0.3),
    "SH": _fricative((300, 1840, 2750), 0.35, 2600, 700),
    "HH": (Segment(0.06, None, aspiration=0.3),),
    "P": _stop(_LABIAL, 900, 900, voiced=False),
    "B": _stop(_LABIAL, 900, 900, voiced=True),
    "T": _stop(_ALVEOLAR, 4000, 1800, voiced=False),
    "D": _stop(_ALVEOLAR, 4000, 1800, voiced=True),
    "K": _stop(_VELAR, 1900, 500, voiced=False),
    "G": _stop(_VELAR, 1900, 500, voiced=True),
}
"""The segments of each phone, in order."""

WORDS: dict[str, tuple[str, ...]] = {
    word: tuple(phones.split())
    for word, phones in (
        line.split(" ", 1)
        for line in """\
zero Z IY R AO UH
one W AH N
two T UW
three F R IY
four F AO R
five F AA IH V
six S IH K S
seven S EH V AH N
eight EH IH T
nine N AA IH N
yes Y EH S
no N AO UH
stop S T AA P
go G AO UH
left L EH F T
right R AA IH T
up AH P
down D AE UH N
open AO UH P AH N
close K L AO UH Z
bird B ER D
dog D AO G
cat K AE T
fish F IH SH
horse HH AO R S
wolf W UH L F
sheep SH IY P
mouse M AE UH S
tiger T AA IH G ER
zebra Z IY B R AH
house HH AE UH S
garden G AA R D AH N
river R IH V ER
moon M UW N
sun S AH N
wind W IH N D
water W AO T ER
fire F AA IH ER
snow S N AO UH
leaf L IY F
green G R IY N
yellow Y EH L AO UH
black B L AE K
purple P ER P AH L
silver S IH L V ER
happy HH AE P IY
sing S IH NG
long L AO NG
young Y AH NG
king K IH NG
voice V AO IH S
vision V IH SH AH N
visit V IH Z IH T
shoe SH UW
wash W AA SH
good G UH D
book B UH K
pull P UH L
music M Y UW Z IH K
table T EH IH B AH L""".splitlines()
    )
}
"""The phones of each word."""
