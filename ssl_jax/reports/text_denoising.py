"""What runs that denoise text show: how well greedy decoding denoises held-out rows, and some rows side by side."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from ssl_jax.data.corpus import token_counts
from ssl_jax.data.passages import Passages
from ssl_jax.data.pretraining_text import PretrainingText, passage_rows
from ssl_jax.data.stacking import stacked
from ssl_jax.data.tokenizers import SpecialTokens
from ssl_jax.decoding.decoder import Decoder
from ssl_jax.decoding.generate import generate
from ssl_jax.evals.denoising import recovery
from ssl_jax.evals.ngram_baselines import InfillingBaseline, leading_documents
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.methods.denoising import Noise
from ssl_jax.reports.files import save_json, save_text
from ssl_jax.reports.side_by_side import readable, side_by_side
from ssl_jax.training.experiment import Report
from ssl_jax.transforms.denoising import Denoising
from ssl_jax.transforms.inverses import Inverse

ROWS = 128
"""Held-out rows that are denoised by greedy decoding: after each evaluation too, so that it is compiled once."""
SHOWN = 5
"""Rows shown side by side; all are in samples/denoised.txt at the end."""
COUNTED_TOKENS = 5_000_000
"""The n-gram baseline is counted in this much of the training text at most."""
REPEATED = 20
"""Number of tokens that the baseline which ignores its input repeats. With the 6 most frequent ones it finds less:
9.7 % in place of 11.4 % with the default noise of experiments.bart."""


class Denoiser(NamedTuple):
    """How rows are corrupted, denoised and read.

    Attributes:
      noise: corrupts a batch of rows.
      decoder: how the model writes.
      inverse: makes the whole text of a corrupted row and what the model writes.
      names: of the tokens that stand for missing text, [MASK] among them, as they are printed.
    """

    noise: Noise
    decoder: Decoder
    inverse: Inverse
    names: Mapping[int, str]


class CorruptedRows(NamedTuple):
    """Held-out rows, corrupted.

    Attributes:
      corrupted: as the method receives them, in NumPy.
      sources: of each row the tokens that the encoder reads.
      blanks: of each row bool `[tokens]`, those of the source that stand for missing text.
      originals: the text as it was.
    """

    corrupted: Denoising
    sources: list[np.ndarray]
    blanks: list[np.ndarray]
    originals: list[list[int]]


def sample_denoised(report: Report, denoiser: Denoiser) -> None:
    """Writes a few held-out rows as the model denoises them at this step to samples/step-NUMBER.txt."""
    rows = corrupt_rows(report, denoiser)
    denoised = denoise(report, denoiser, rows)
    examples = _side_by_side(report.data.details, denoiser, rows, denoised)
    save_text(report, f"samples/step-{report.step:07d}.txt", "\n".join(examples[:SHOWN]))


def report_text_denoising(report: Report, denoiser: Denoiser) -> None:
    """Prints how much of held-out rows greedy decoding denoises, beside an n-gram baseline, and a few side by side.

    Writes denoising.json and samples/denoised.txt.
    """
    text: PretrainingText = report.data.details
    special = text.tokenizer.special
    rows = corrupt_rows(report, denoiser)
    denoised = denoise(report, denoiser, rows)
    length = len(report.heldout["heldout"][0]["tokens"])
    passages = passage_rows(text.training_corpus, length, text.tokenizer)
    baseline = count_baseline(passages, text.tokenizer.vocab_size)
    pairs = list(zip(rows.sources, rows.blanks, strict=True))
    shown = [_plain(source[~blank], special) for source, blank in pairs]
    counted = leading_documents(text.training_corpus, COUNTED_TOKENS)
    frequent = np.argsort(-token_counts(counted, text.tokenizer.vocab_size), kind="stable")[
        :REPEATED
    ].tolist()
    texts = {
        "corrupted text without its blanks": shown,
        f"the {REPEATED} most frequent tokens, repeated, whatever the text": [
            list(itertools.islice(itertools.cycle(frequent), len(original))) for original in rows.originals
        ],
        "n-gram baseline: the most frequent token between its neighbours in each blank": [
            _plain(baseline.fill(source, blank), special) for source, blank in pairs
        ],
        "model": denoised,
    }
    metrics = {name: recovery(shown, found, rows.originals) for name, found in texts.items()}
    report.log(f"\n{len(denoised)} held-out rows denoised by greedy decoding:")
    report.log("    rows  tokens  hidden   undone")
    for name, shares in metrics.items():
        *parts, undone = shares
        report.log("  " + "".join(f"{share:6.1%}  " for share in parts) + f"{undone:7.1%}  {name}")
    report.log(
        "  (rows: equal to the original; tokens: in their place; hidden: of the tokens that the corrupted text does "
        "not\n   show in their order, those that came back, which repetition finds as well; undone: 1 less the edits "
        "to the\n   original, divided by those from the corrupted text: 0 for text left as it is, less for a worse one)"
    )
    if text.tokenizer.folds_case:
        report.log("  (all text is in lower case; --data.lowercase False keeps it, for a new tokenizer)")
    _report_next_tokens(report, denoiser, baseline)
    save_json(report, "denoising", {name: shares._asdict() for name, shares in metrics.items()})
    if passages.cut:
        report.log(f"{passages.cut:,} sentences of the training text are longer than a row and were cut")
    examples = _side_by_side(text, denoiser, rows, denoised)
    report.log("\nheld-out text, corrupted, denoised and as it was:\n")
    report.log("\n".join(examples[:SHOWN]))
    save_text(report, "samples/denoised.txt", "\n".join(examples))


def corrupt_rows(report: Report, denoiser: Denoiser) -> CorruptedRows:
    """The first held-out rows, corrupted with the same randomness each time."""
    special, heldout = report.data.details.tokenizer.special, report.heldout["heldout"]
    batch = stacked([heldout[row] for row in range(min(ROWS, len(heldout)))])
    corrupted = jax.device_get(jax.jit(denoiser.noise)(jax.random.key(0), batch))
    sources = [
        row[: present.sum()] for row, present in zip(corrupted.source, corrupted.source_present, strict=True)
    ]
    return CorruptedRows(
        corrupted,
        sources,
        [np.isin(row, list(denoiser.names)) for row in sources],
        [_plain(row, special) for row in batch["tokens"]],
    )


def denoise(report: Report, denoiser: Denoiser, rows: CorruptedRows) -> list[list[int]]:
    """The whole text of each row, by what the model writes greedily."""
    tokenizer = report.data.details.tokenizer
    special = tokenizer.special
    written = generate(
        denoiser.decoder._replace(vocab_size=tokenizer.vocab_size),
        report.variables["params"],
        rows.corrupted.source,
        rows.corrupted.source_present.sum(-1),
        max_new_tokens=rows.corrupted.targets.shape[1],
        end=special.sep,
    )
    parts = zip(rows.sources, rows.blanks, written.tokens, written.lengths, strict=True)
    return [
        _plain(denoiser.inverse(source, blank, tokens[:length]), special)
        for source, blank, tokens, length in parts
    ]


def count_baseline(passages: Passages, size: int) -> InfillingBaseline:
    """The n-gram baseline counted in the first of these rows, of tokens below `size`."""
    tokens, total = [], 0
    for number in range(len(passages)):
        row = passages(number)
        tokens.append(row["tokens"][row["present"]])
        total += len(tokens[-1])
        if total >= COUNTED_TOKENS:
            break
    return InfillingBaseline(np.concatenate(tokens), size)


def _report_next_tokens(report: Report, denoiser: Denoiser, baseline: InfillingBaseline) -> None:
    """The accuracy per token with the true tokens before it, beside what the last of these alone predicts.

    The baseline is scored on all rows that the metric is of.
    """

    def targets(params: Tree, extras: Extras, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
        corrupted = denoiser.noise(jax.random.key(0), batch)
        return corrupted.inputs, corrupted.targets, corrupted.weights > 0

    inputs, wanted, counted = report.map(targets, report.heldout["heldout"], {"params": {}})
    bigram = (baseline.next_tokens(inputs) == wanted)[counted].mean()
    report.baselines["token_accuracy"] = {"the most frequent token after the one before": float(bigram)}
    metrics = report.metrics["heldout"]
    report.log(
        f"\nnext token, given the true ones before it: {metrics['token_accuracy']:.1%} right "
        f"(n-gram baseline, the most frequent token after the one before: {bigram:.1%}), "
        f"{metrics['token_loss']:.3f} nats"
    )


def _plain(tokens: Sequence[int], special: SpecialTokens) -> list[int]:
    """The tokens without [BOS], [EOS] and padding."""
    return [int(token) for token in tokens if token not in (special.pad, special.cls, special.sep)]


def _side_by_side(
    text: PretrainingText, denoiser: Denoiser, rows: CorruptedRows, denoised: list[list[int]]
) -> list[str]:
    """A paragraph for each row."""
    examples = []
    for number, versions in enumerate(zip(rows.sources, denoised, rows.originals, strict=True), 1):
        readings = (readable(tokens, text.tokenizer, denoiser.names) for tokens in versions)
        texts = dict(zip(("corrupted", "denoised", "original"), readings, strict=True))
        examples.append("\n".join([f"--- row {number} ---", *side_by_side(texts), ""]))
    return examples
