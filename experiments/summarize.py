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
Objectives (`--objective.name`): paper, with a critic of every prefix and self-critical REINFORCE; wgan; gumbel.

It differs from the released code of the paper: nothing after [EOS] has a reward, returns are means over the following
tokens, so that length alone has no return, real sentences are not the articles' own titles, repeated words are not
removed before scoring, and the warm-up neither uses a pair nor teaches to copy the beginning of an article. The three
networks are transformers.

summaries.json and the table at the end have ROUGE (without stemming) beside the first words, the best window of words,
a tf-idf extract and the summary of another article; plots/ has the reward of the critic, the reconstruction, ROUGE and
the bits per word along the way.

The default, seed 0 (2 AMD cores, which other programs used too, 27 November 2026; 8 minutes of training), 225 test
articles: ROUGE-1/2/L 12.3/0.6/10.5 with 9.9 words; the first 10 words 20.5/4.9/17.5, tf-idf 18.5/2.7/15.1, the
reference of another article 8.1/0.5/7.5, the best window 36.9/12.4/29.2. The codes are what the reconstructor needs:
4.29 nats per token of the article, from the code of another article 5.48, from the first words 4.58, by tf-idf 4.24.
They do not read like sentences: 14.6 bits per word to 3-grams of real sentences, which have 9.1. With the
log-probability by a language model as a reward (--objective.language_weight 0.5 --objective.reconstruction_weight 2)
they do, with 8.7 bits, and are short: 4.2 words, 13.9/1.9/12.9 beside 15.6/3.1/14.1 of the first 4 words, 4.84 nats. No
setting has beaten the first words. The longer preset has not been run.

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
