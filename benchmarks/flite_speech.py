"""Makes speech whose phones are known, by three voices of flite: recordings with a .lab file each, for phone probes.

    apt-get install flite
    python -m benchmarks.flite_speech FOLDER [--sentences 300]
    python -m experiments.apc --data.source FOLDER --data.labels '{speaker}_{}' --data.longest 2

The sentences are summary lines of docstrings, the same for each voice. flite prints at which second each phone ends.
"""

import argparse
import shutil
import subprocess
from pathlib import Path

from ssl_jax.data.docstring_summaries import DocstringSummaries

VOICES = ("awb", "rms", "slt")
"""Not kal16, whose phones end 0.1 seconds after its recordings."""
LONGEST = 60
"""Letters of a sentence; flite says about 15 a second."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="made if it is not there")
    parser.add_argument("--sentences", type=int, default=300, help="said by each voice")
    arguments = parser.parse_args()
    if not shutil.which("flite"):
        raise SystemExit("flite is not installed: apt-get install flite")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for number, sentence in enumerate(sentences(arguments.sentences)):
        for voice in VOICES:
            say(sentence, voice, arguments.folder / f"{voice}_{number:04}")
    print(f"{len(VOICES)} voices say {arguments.sentences} sentences in {arguments.folder}")


def sentences(count):
    """Short sentences of letters alone, each once."""
    found = dict.fromkeys(
        summary
        for _, summary in DocstringSummaries()
        if 20 <= len(summary) <= LONGEST and summary.replace(" ", "").rstrip(".").isalpha()
    )
    if len(found) < count:
        raise SystemExit(f"{len(found)} sentences are there, not {count}")
    return list(found)[:count]


def say(sentence, voice, stem):
    """Writes a recording and the ends of its phones, as Festival does: `end number phone` a line after a `#`."""
    command = ["flite", "-voice", voice, "-psdur", "-t", sentence, "-o", str(stem.with_suffix(".wav"))]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    phones = (phone.rpartition(":") for phone in printed.split())
    lines = ["#", *(f"{end} 100 {name}" for name, _, end in phones)]
    stem.with_suffix(".lab").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
