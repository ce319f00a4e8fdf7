"""What multilingual pretraining shows at its end: the text of each language, and how well its tokens are predicted."""

from collections.abc import Mapping

import numpy as np

from ssl_jax.data.languages import Language, Languages
from ssl_jax.evals.masked_words import maskable_tokens
from ssl_jax.evals.ngram_baselines import leading_documents, masked_token_baselines
from ssl_jax.files import write_json
from ssl_jax.reports.masked_words import COUNTED_TOKENS
from ssl_jax.reports.tables import aligned
from ssl_jax.training.experiment import Report

FILE = "languages.json"


def report_languages(report: Report, rows_seen: int) -> None:
    """Prints a table of the languages and writes languages.json.

    Args:
      report: of a run with the metrics `mlm_loss` and `mlm_accuracy`, whose held-out sets are named by the languages.
      rows_seen: number of rows that the run was trained on.
    """
    opened: Languages = report.data.details
    found = {language.name: _figures(report, opened, language, rows_seen) for language in opened.languages}
    report.baselines["mlm_accuracy"] = {
        f"{name}: two neighbours": figures["two_sided"] for name, figures in found.items()
    }
    if report.writes:
        write_json(report.folder / FILE, found)
    report.log("\nlanguages; accuracy on masked tokens of held-out text, beside n-gram counts:")
    for line in aligned([_HEADER, *(_row(name, figures) for name, figures in found.items())]):
        report.log(line)
    report.log("")


_HEADER = (
    "",
    "documents",
    "tokens",
    "share",
    "epochs",
    "tokens/word",
    "unknown",
    "loss",
    "accuracy",
    "two neighbours",
    "most frequent",
)


def _figures(report: Report, opened: Languages, language: Language, rows_seen: int) -> Mapping[str, float]:
    rows = list(report.heldout[language.name])
    tokens, segment_ids = (np.stack([row[name] for row in rows]) for name in ("tokens", "segment_ids"))
    # Counted with the ids of the tokenizer; a shift changes no count.
    special = opened.tokenizer.special
    plain = np.where(tokens >= special.first_regular, tokens - language.shift, tokens)
    baselines = masked_token_baselines(
        leading_documents(language.training, COUNTED_TOKENS),
        plain,
        maskable_tokens(plain, segment_ids, special),
    )
    text = np.concatenate([language.heldout.document(i) for i in range(len(language.heldout.hashes))])
    trained = int(language.training.document_lengths.sum())
    return {
        "documents": len(language.training.hashes),
        "tokens": trained,
        "share": language.share,
        "epochs": rows_seen * language.share * tokens.shape[1] / trained,
        "tokens_per_word": len(text) / max(1, int(opened.tokenizer.starts_word[text].sum())),
        "unknown": float((text == special.unk).mean()),
        **{name: report.metrics[language.name][name] for name in ("mlm_loss", "mlm_accuracy")},
        "two_sided": baselines["two_sided"],
        "most_frequent": baselines["most_frequent"],
    }


def _row(name: str, of: Mapping[str, float]) -> tuple[str, ...]:
    return (
        name,
        f"{of['documents']:,}",
        f"{of['tokens']:,}",
        f"{of['share']:.1%}",
        f"{of['epochs']:.1f}",
        f"{of['tokens_per_word']:.2f}",
        f"{of['unknown']:.2%}",
        f"{of['mlm_loss']:.2f}",
        f"{of['mlm_accuracy']:.1%}",
        f"{of['two_sided']:.1%}",
        f"{of['most_frequent']:.1%}",
    )
