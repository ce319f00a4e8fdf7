"""Text as the code: summaries learnt without a single pair (Wang & Lee 2018, arXiv:1810.02851).

    python -m experiments.summarize                                  # offline, on docstrings, about 900 steps
    python -m experiments.summarize longer                           # the same, 4,000 steps
    python -m experiments.summarize --objective.adversarial_weight 0 --objective.language_weight 0  # not readable
    python -m experiments.summarize --objective.name gumbel --objective.language_weight 0   # another one
    python -m experiments.summarize --data.articles FILE --data.sentences FILE   # your own text, never paired
    python -m experiments.summarize --init_from BART_RUN             # generator and reconstructor start from a bart run
    python -m experiments.summarize gigaword --workdir gs://...      # for a TPU pod
    python -m ssl_jax.generate runs/summarize-tiny --temperature 0 --prompt "ARTICLE"

A generator with a pointer writes a short text from an article; a reconstructor predicts the article from that text; a
critic that reads real sentences keeps it readable. By default, the articles are the bodies of docstrings in the
installed packages, and the sentences are summary lines of other docstrings. Pairs are in the test part alone, a third.

Objectives (`--objective.name`): paper, with a critic of every prefix and self-critical REINFORCE; wgan; gumbel. Beside
the paper's rewards, the presets for a laptop have that of a language model of sentences (SLOR, arXiv:1809.08731).

It differs from the released code of the paper: nothing after [EOS] has a reward, returns are means over the following
tokens, so that length alone has no return, real sentences are not the articles' own titles, repeated words are not
removed before scoring, and the warm-up neither uses a pair nor teaches to copy the beginning of an article. The three
networks are transformers.

summaries.json and the table at the end have ROUGE (without stemming) beside the first words, the best window of words,
a tf-idf extract and the summary of another article; rewards.json how far each reward orders codes of the same article
as ROUGE does; plots/ has the rewards, the reconstruction, ROUGE and the bits per word along the way.

Results on 225 test articles (2 AMD cores, two runs at a time, 28 November 2026), F1 of ROUGE-1/2/L, mean and deviation:

                                      R-1            R-2          R-L          words   bits/word   nats
    longer, seeds 0 to 2              18.3 +- 0.5    2.6 +- 0.5   16.4 +- 0.4    6.5     10.2      4.12    27 minutes
    the default, seed 0               17.1           2.5          15.3           5.8     10.2      4.70    6 minutes
    first 6 words                     18.7           4.4          16.3           6.0     14.0      4.20
    tf-idf extract of 6 words         18.7           2.8          15.8           6.0     21.4      3.89
    reference of another article       8.1           0.5           7.5           8.5      9.1      4.84
    best window of 6 words            41.9          15.2          34.7           6.0     13.5      4.21

(bits: to 3-grams of real sentences. nats: of a token of the article, predicted from the text by the reconstructor of
the run; for other texts, by that of longer's seed 0, which needs 4.79 with the code of another article.) Codes are
short phrases in other words than the first ones (1 % of their tokens end four tokens of the article). They do not beat
the first words: the 95 % confidence intervals of the difference in ROUGE-1, over the articles, are -3.6 to +1.6, -3.0
to +2.3 and -2.5 to +1.7 points in the three runs, and ROUGE-2 is lower. At the end of training, the rewards hardly
order the codes of an article as ROUGE does (rank correlations of .00 to .09, of their sum .09 to .12). BUILD_NOTES.md
has other settings that were tried, and codes with and without a critic.

The other presets need their data set prepared as ArrayRecord (README.md, "Your own data"). Results in the paper, on
English Gigaword with unpaired titles, are not comparable with these thirds of the training set.

On TPUs: gigaword on v5e:4x4; xsum, cnn_dailymail on v5e:8x8 (docs/planning.md).
"""

from dataclasses import dataclass, replace

from ssl_jax.cli import main
from ssl_jax.data.summary_rows import SummaryTextConfig
from ssl_jax.methods.summary_objectives import ObjectiveConfig
from ssl_jax.models.encoder_decoder import SIZES
from ssl_jax.recipes.summarization import SummarizationConfig, summarization_experiment
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.schedules import ScheduleConfig


@dataclass(frozen=True)
class Config(SummarizationConfig):
    """Summaries without pairs."""


TINY = Config(
    objective=ObjectiveConfig(language_weight=0.5, reconstruction_weight=1.0),
    train=TrainConfig(batch_size=16, eval_every=300, save_every=300, keep_every=300),
)


def _pod(data_set: str, length: int, code_length: int) -> Config:
    """A data set of news, for a pod; the sizes are a choice, the paper's networks are recurrent."""
    model = replace(
        SIZES["base"],
        vocab_size=32_000,
        positions=length,
        dropout=0.0,
        attention_dropout=0.0,
        norm="pre",
        dtype="bfloat16",
    )
    source = f"tfds:{data_set}"
    return Config(
        steps=100_000,
        length=length,
        code_length=code_length,
        data=SummaryTextConfig(articles=source, sentences=source, heldout_rows=1024),
        model=model,
        objective=ObjectiveConfig(warmup_steps=20_000),
        schedule=ScheduleConfig(learning_rate=1e-4, warmup_steps=4_000),
        train=TrainConfig(
            batch_size=256, log_every=100, eval_every=5_000, save_every=5_000, keep_every=25_000
        ),
    )


PRESETS = {
    "tiny": TINY,
    "longer": replace(
        TINY,
        steps=4000,
        objective=replace(TINY.objective, warmup_steps=1000),
        train=replace(TINY.train, eval_every=500, save_every=500, keep_every=500),
    ),
    "gigaword": _pod("gigaword", 64, 20),
    "xsum": _pod("xsum", 512, 48),
    "cnn_dailymail": _pod("cnn_dailymail", 512, 96),
}


def build(config: Config) -> Experiment:
    """Three networks, unpaired rows, an optimiser for each network, and a report of codes."""
    return summarization_experiment(config)


if __name__ == "__main__":
    main(PRESETS, build)
