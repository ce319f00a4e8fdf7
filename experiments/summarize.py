"""Text as the code: summaries learnt without a single pair (Wang & Lee 2018, arXiv:1810.02851).

    python -m experiments.summarize                                  # offline, about 5 minutes on 2 CPU cores

On TPUs: gigaword on v5e:4x4 (docs/planning.md).
"""

from dataclasses import dataclass

from ssl_jax.cli import main
from ssl_jax.recipes.summarization import SummarizationConfig, summarization_experiment
from ssl_jax.training.experiment import Experiment, TrainConfig


@dataclass(frozen=True)
class Config(SummarizationConfig):
    """Summaries without pairs."""


PRESETS = {"tiny": Config(train=TrainConfig(batch_size=16))}


def build(config: Config) -> Experiment:
    """The experiment of `ssl_jax.recipes.summarization`."""
    return summarization_experiment(config)


if __name__ == "__main__":
    main(PRESETS, build)
