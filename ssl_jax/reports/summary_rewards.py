"""Whether the rewards of a summariser order codes as ROUGE does: what its generator can learn from them at most."""

import functools
from collections.abc import Callable, Mapping, Sequence

import grain
import jax
import numpy as np

from ssl_jax.data.summary_rows import SummaryText
from ssl_jax.decoding.pointer import Written, word_ids, write_texts
from ssl_jax.evals.label_metrics import spearman_correlation
from ssl_jax.evals.rouge import rouges
from ssl_jax.losses.adversarial import mean_over_text
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.methods.summarization import Networks, fluency, reconstruction, unpaired_rows
from ssl_jax.reports.files import save_json
from ssl_jax.reports.tables import aligned
from ssl_jax.training.experiment import Report

DRAWS = 8
"""Codes that are drawn for each article."""


def report_rewards(
    report: Report,
    networks: Networks,
    examples: Sequence[Mapping[str, np.ndarray]],
    references: Sequence[str],
) -> None:
    """Prints how the rewards of codes that are drawn for the same article agree with ROUGE-1. Writes rewards.json.

    Args:
      report: of the run.
      networks: the modules.
      examples: rows of articles.
      references: a summary of each.
    """
    text: SummaryText = report.data.details
    rows = [
        {**example, "draw": np.int32(draw * len(examples) + number)}
        for draw in range(DRAWS)
        for number, example in enumerate(examples)
    ]
    codes, found = report.map(_drawn(networks), grain.MapDataset.source(rows))
    texts = [text.tokenizer.decode(ids) for ids in word_ids(codes, networks.writing)]
    scores = np.reshape([score.rouge_1 for score in rouges(texts, references * DRAWS)], (DRAWS, -1)).T
    rewards = {name: np.reshape(values, (DRAWS, -1)).T for name, values in found.items()}
    rewards["sum, each over its standard deviation"] = sum(map(_standardised, rewards.values()))
    table = {name: agreement(values, scores) for name, values in rewards.items()}
    report.log(
        f"\nwhat the rewards know of the references: {DRAWS} codes are drawn for each article. Their mean ROUGE-1 is "
        f"{scores.mean():.1%}, that of the\nbest ones {scores.max(-1).mean():.1%}. The rank correlation of a reward "
        "with ROUGE-1 is the mean of those of the articles."
    )
    lines = [["reward", "rank correlation", "standard error", "R-1 of the code with the highest"]]
    lines += [
        [name, f"{row['correlation']:.3f}", f"{row['standard_error']:.3f}", f"{row['rouge_1_of_best']:.1%}"]
        for name, row in table.items()
    ]
    report.log("\n".join(aligned(lines)))
    save_json(report, "rewards", table)


def agreement(rewards: np.ndarray, rouges: np.ndarray) -> dict[str, float]:
    """How far a reward orders codes as ROUGE does.

    Args:
      rewards: [articles, draws].
      rouges: [articles, draws].

    Returns:
      `correlation`, the mean rank correlation within an article, over the articles whose codes differ in both;
      `standard_error` of this mean; `rouge_1_of_best`, the mean ROUGE of the code with the highest reward.
    """
    each = np.array([spearman_correlation(*pair) for pair in zip(rouges, rewards, strict=True)])
    known = each[np.isfinite(each)]
    best = rouges[np.arange(len(rouges)), rewards.argmax(-1)]
    return {
        "correlation": float(known.mean()) if len(known) else 0.0,
        "standard_error": float(known.std() / np.sqrt(len(known))) if len(known) else 0.0,
        "rouge_1_of_best": float(best.mean()),
    }


def _standardised(rewards: np.ndarray) -> np.ndarray:
    """Rewards within an article, in units of their spread there."""
    return (rewards - rewards.mean(-1, keepdims=True)) / max(rewards.std(-1).mean(), 1e-9)


@functools.cache
def _drawn(networks: Networks) -> Callable[[Tree, Extras, Batch], tuple[Written, dict[str, jax.Array]]]:
    """`(params, extras, batch) -> (codes, rewards [batch] by name)`; the first `draw` of a batch is its seed."""

    def draw(params: Tree, extras: Extras, batch: Batch) -> tuple[Written, dict[str, jax.Array]]:
        article, _ = unpaired_rows(batch)
        key = jax.random.fold_in(jax.random.key(0), batch["draw"][0])
        generator = networks.generator, params["generator"]
        _, code = write_texts(*generator, *article, batch["vocab_size"], networks.writing, key)
        judged = networks.critic.apply({"params": params["critic"]}, *code)
        rewards = {
            "reconstruction": -reconstruction(networks, params["reconstructor"], *code, article)[1],
            "critic": mean_over_text(judged, code.present),
        }
        if networks.language:
            fluent = fluency(networks, params["language"], extras["token_counts"], code)
            rewards["language model"] = mean_over_text(fluent, code.present)
        return code, rewards

    return draw
