"""What experiments on corrupted text show: how much greedy writing restores of held-out rows, and some side by side."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from ssl_jax.data.passages import Passages
from ssl_jax.data.pretraining_text import PretrainingText, passage_rows
from ssl_jax.data.tokenizers import SpecialTokens
from ssl_jax.decoding.decoder import Decoder
from ssl_jax.decoding.generate import generate
from ssl_jax.evals.restoration import Counts, count_restored, readable, side_by_side
from ssl_jax.methods.denoising import Noise
from ssl_jax.training.experiment import Report
from ssl_jax.training.folder import writing
from ssl_jax.transforms.denoising import Denoising

ROWS = 128
"""Held-out rows that are restored by greedy writing: after each evaluation too, so that it is compiled once."""
SHOWN = 5
"""Rows shown side by side; all are in samples/restored.txt at the end."""
COUNTED_TOKENS = 5_000_000
"""Training text that neighbours are counted in, at most."""

Join = Callable[[np.ndarray, np.ndarray, np.ndarray], list[int]]
"""`(source [tokens], blank [tokens], written [new]) -> text`: a row made whole by what was written."""


class Restoration(NamedTuple):
    """How a noise's rows are corrupted, restored and read.

    Attributes:
      noise: of the rows to restore.
      decoder: how the model writes.
      join: how what it writes and the source make the whole text.
      names: of the tokens that stand for something missing, [MASK] among them, as they are printed.
    """

    noise: Noise
    decoder: Decoder
    join: Join
    names: Mapping[int, str]


class Rows(NamedTuple):
    """Held-out rows, corrupted.

    Attributes:
      corrupted: as the method sees them, in NumPy.
      sources, blanks: of each row the tokens that the encoder reads, and which of them stand for something missing.
      originals: the text as it was.
    """

    corrupted: Denoising
    sources: list[np.ndarray]
    blanks: list[np.ndarray]
    originals: list[list[int]]


def write_samples(report: Report, restoration: Restoration) -> None:
    """Writes what the model makes of a few held-out rows by now, as samples/step-NUMBER.txt."""
    rows = corrupt_rows(report.data.details, restoration)
    restored = restore(report, rows, restoration)
    if report.writes:
        examples = _side_by_side(report.data.details, restoration, rows, restored)
        _write(report, f"step-{report.step:07d}.txt", examples[:SHOWN])


def report_restoration(report: Report, restoration: Restoration) -> None:
    """Prints how much of held-out rows greedy writing restores, beside counting, and a few of them side by side.

    Writes restoration.json and samples/restored.txt.
    """
    text: PretrainingText = report.data.details
    special = text.tokenizer.special
    rows = corrupt_rows(text, restoration)
    restored = restore(report, rows, restoration)
    if not report.writes:
        return
    passages = passage_rows(text.training_corpus, len(text.heldout[-1][0]["tokens"]), text.tokenizer)
    counts = count_neighbours(passages, text.tokenizer.vocab_size)
    pairs = list(zip(rows.sources, rows.blanks, strict=True))
    shown = [_plain(source[~blank], special) for source, blank in pairs]
    sides = {
        "the corrupted text without its blanks": shown,
        "the commonest token between its neighbours in each blank": [
            _plain(counts.fill(source, blank), special) for source, blank in pairs
        ],
        "this model": restored,
    }
    metrics = {name: count_restored(shown, texts, rows.originals) for name, texts in sides.items()}
    report.log(f"\n{len(restored)} held-out rows restored by greedy writing:")
    report.log("    rows  tokens  hidden")
    for name, shares in metrics.items():
        report.log("  " + "".join(f"{share:6.1%}  " for share in shares) + name)
    report.log(
        "  (rows: equal to the original; tokens: those in their place; hidden: of the tokens that the corrupted text does "
        "not show\n   in their order, those that came back)"
    )
    _report_next_tokens(report, rows.corrupted, counts)
    with writing(report.folder):
        content = {name: shares._asdict() for name, shares in metrics.items()}
        (report.folder / "restoration.json").write_text(json.dumps(content, indent=2) + "\n")
    if passages.cut:
        report.log(f"{passages.cut:,} sentences of the training text are longer than a row and were cut")
    examples = _side_by_side(text, restoration, rows, restored)
    report.log("\nheld-out text, corrupted, restored and as it was:\n")
    report.log("\n".join(examples[:SHOWN]))
    _write(report, "restored.txt", examples)


def corrupt_rows(text: PretrainingText, restoration: Restoration) -> Rows:
    """The first held-out rows, corrupted with the same randomness each time."""
    special, heldout = text.tokenizer.special, text.heldout[-1]
    examples = [heldout[row] for row in range(min(ROWS, len(heldout)))]
    batch = {name: np.stack([example[name] for example in examples]) for name in examples[0]}
    corrupted = jax.device_get(jax.jit(restoration.noise)(jax.random.key(0), batch))
    sources = [
        row[: present.sum()] for row, present in zip(corrupted.source, corrupted.source_present, strict=True)
    ]
    return Rows(
        corrupted,
        sources,
        [np.isin(row, list(restoration.names)) for row in sources],
        [_plain(row, special) for row in batch["tokens"]],
    )


def restore(report: Report, rows: Rows, restoration: Restoration) -> list[list[int]]:
    """The whole text of each row, with what the model writes greedily."""
    special = report.data.details.tokenizer.special
    written = generate(
        restoration.decoder,
        report.variables["params"],
        rows.corrupted.source,
        rows.corrupted.source_present.sum(-1),
        max_new_tokens=rows.corrupted.targets.shape[1],
        end=special.sep,
    )
    parts = zip(rows.sources, rows.blanks, written.tokens, written.lengths, strict=True)
    return [
        _plain(restoration.join(source, blank, tokens[:length]), special)
        for source, blank, tokens, length in parts
    ]


def count_neighbours(passages: Passages, size: int) -> Counts:
    """Counts in the first of these rows, of tokens below `size`."""
    tokens, total = [], 0
    for number in range(len(passages)):
        row = passages(number)
        tokens.append(row["tokens"][row["present"]])
        total += len(tokens[-1])
        if total >= COUNTED_TOKENS:
            break
    return Counts(np.concatenate(tokens), size)


def _report_next_tokens(report: Report, corrupted: Denoising, counts: Counts) -> None:
    """What accuracy per token is worth: with the true tokens before it, the last of them alone tells as much."""
    counted = corrupted.weights > 0
    by_counting = (counts.after(corrupted.inputs) == corrupted.targets)[counted].mean()
    metrics = report.metrics["heldout"]
    report.log(
        f"\nnext token, given the true ones before it: {metrics['token_accuracy']:.1%} right "
        f"(the commonest after the one before: {by_counting:.1%}), {metrics['token_loss']:.3f} nats"
    )


def _plain(tokens: Sequence[int], special: SpecialTokens) -> list[int]:
    """Without [BOS], [EOS] and padding."""
    return [int(token) for token in tokens if token not in (special.pad, special.cls, special.sep)]


def _side_by_side(
    text: PretrainingText, restoration: Restoration, rows: Rows, restored: list[list[int]]
) -> list[str]:
    """A paragraph for each row."""
    examples = []
    for number, sides in enumerate(zip(rows.sources, restored, rows.originals, strict=True), 1):
        readings = (readable(tokens, text.tokenizer, restoration.names) for tokens in sides)
        texts = dict(zip(("corrupted", "restored", "original"), readings, strict=True))
        examples.append("\n".join([f"--- row {number} ---", *side_by_side(texts), ""]))
    return examples


def _write(report: Report, name: str, sides: Sequence[str]) -> None:
    file = report.folder / "samples" / name
    with writing(file):
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(sides), encoding="utf-8")
