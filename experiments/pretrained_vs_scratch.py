"""What pretraining is for: the four kinds of fine-tuning from a pretrained and from a random start, side by side.

    python -m experiments.pretrained_vs_scratch                           # offline: a BERT, then 4 x 2 x 3 runs
    python -m experiments.pretrained_vs_scratch --first runs/bert-tiny    # a BERT that exists, against random
    python -m experiments.pretrained_vs_scratch --first runs/bert-longer --second runs/bert-tiny
    python -m experiments.pretrained_vs_scratch --repeats 5

The tasks are those of Devlin et al. 2018 (arXiv:1810.04805, figure 4): a sentence, a pair of sentences, the words of a
sentence, and questions about a text, each as the default preset of its experiment. `pretrained` is a BERT that is
trained first, once for all runs; `random` is an encoder that is initialised at random, with the tokenizer and the sizes
of the other source. A source may also be a run of experiments.bert or experiments.albert, RUN@STEP, or a folder of BERT
weights. Each training is an ordinary run in a folder of its own, TASK-SOURCE-SEED.

plots/loss.png has the training losses of all runs and the metrics on held-out examples below them; pretrained.txt and
pretrained.json have the metrics, the median of the seeds and their range.

The 25 runs took 55 minutes on 2 AMD cores that were busy with other work (26 November 2026). On held-out examples, with
learned positions (--bert.model.position_encoding absolute), the median of the seeds 0 to 2 and their range, in per
cent:

                                     pretrained          random start
    sentences, accuracy        52.3 (51.2 to 53.2)    47.3 (43.8 to 49.9)
    pairs, accuracy            87.0 (86.9 to 89.7)    63.7 (62.3 to 63.8)
    words, F1 of entities      56.1 (55.1 to 56.9)    31.2 (30.3 to 31.4)
    questions, F1 of answers   73.2 (69.5 to 73.5)    64.0 (62.7 to 66.7)

The training loss of every pretrained run is below that of all random ones of its task: from step 20 on for sentences,
160 for pairs, 40 for words and questions. For sentences the gain is small: single words tell most of the section that
they are from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from experiments import bert as pretraining
from experiments import pair_classification, question_answering, sequence_classification, token_classification
from ssl_jax.cli import main
from ssl_jax.domains import NonEmptyText, PositiveInt, Settings
from ssl_jax.errors import UserError
from ssl_jax.evals.repeats_plot import draw_repeats
from ssl_jax.recipes.fine_tuning import BERT_RUN, FineTuningConfig
from ssl_jax.reports.repeats import Seeds, repeats_table
from ssl_jax.runs.prerequisites import PlannedRun
from ssl_jax.runs.study import Figures, Runs, Study, Table
from ssl_jax.training import metrics

BERT = "bert"
"""Name of the run that the others start from."""
PRETRAINED, RANDOM = "pretrained", "random"
TASKS = {
    "sentences": sequence_classification.__name__,
    "pairs": pair_classification.__name__,
    "words": token_classification.__name__,
    "questions": question_answering.__name__,
}
"""Experiments by the field of the configuration."""


@dataclass(frozen=True)
class Config(Settings):
    """Four tasks from two sources, with several seeds."""

    first: NonEmptyText = PRETRAINED
    """Where the encoder is from: pretrained, random, RUN, RUN@STEP, or a folder of weights."""
    second: NonEmptyText = RANDOM
    """The source to compare with."""
    repeats: PositiveInt = 3
    """Seeds of each task and source; the first is that of the task's configuration."""
    bert: pretraining.Config = pretraining.OFFLINE
    """What `pretrained` is."""
    sentences: sequence_classification.Config = field(default_factory=lambda: sequence_classification.OFFLINE)
    pairs: pair_classification.Config = field(default_factory=lambda: pair_classification.OFFLINE)
    words: token_classification.Config = field(default_factory=lambda: token_classification.OFFLINE)
    questions: question_answering.Config = field(default_factory=lambda: question_answering.OFFLINE)

    def check_relations(self) -> None:
        if self.first == self.second:
            raise UserError(f"first and second are both {self.first}; give two sources to compare.")
        for task in TASKS:
            each: FineTuningConfig = getattr(self, task)
            if each.from_scratch or each.bert != pretraining.OFFLINE:
                raise UserError(
                    f"{task}: where the encoder is from is not set here. Give --first, --second, and --bert... for a "
                    "BERT that is trained first."
                )

    @property
    def sources(self) -> dict[str, str]:
        """By their place in the names of runs, the two sources."""
        named = zip(("first", "second"), (self.first, self.second), strict=True)
        return {source if source in (PRETRAINED, RANDOM) else place: source for place, source in named}


PRESETS = {"tiny": Config()}


def study(config: Config) -> Study:
    """The BERT if it is needed, and a run for each task, source and seed."""
    runs = {BERT: PlannedRun(BERT_RUN, "tiny", config.bert)} if PRETRAINED in config.sources else {}
    for task in TASKS:
        for place in config.sources:
            runs |= task_runs(config, task, place)
    return Study("pretrained", runs, lambda runs, folder: tabulate(config, runs), draw)


def task_runs(config: Config, task: str, place: str) -> dict[str, PlannedRun]:
    """The runs of a task from one of the sources, by name."""
    source, each = config.sources[place], getattr(config, task)
    [other] = {*config.sources.values()} - {source}
    encoder = other if source == RANDOM else source
    return {
        f"{task}-{place}-{seed}": PlannedRun(
            TASKS[task],
            "tiny",
            replace(each, from_scratch=source == RANDOM, train=replace(each.train, seed=seed)),
            init_from=BERT if encoder == PRETRAINED else encoder,
        )
        for seed in range(each.train.seed, each.train.seed + config.repeats)
    }


def tabulate(config: Config, runs: Runs) -> Table:
    """The metrics on held-out examples at the last step of each run, and the training losses."""
    found: dict[str, dict[str, Mapping[str, Seeds]]] = {}
    losses: dict[str, dict[str, list[list[tuple[int, float]]]]] = {}
    for task in TASKS:
        found[task], losses[task] = {}, {}
        for place, source in config.sources.items():
            own = [runs[name] for name in task_runs(config, task, place)]
            logs = [metrics.read(run.folder) for run in own]
            heldout = [[line for line in log if "split" in line][-1] for log in logs]
            loss, *names = own[0].experiment.headline
            # None where a metric is not defined, such as a correlation with a constant.
            found[task][source] = {name: [line.get(name) for line in heldout] for name in names}
            losses[task][source] = [
                [(line["step"], line[loss]) for line in log if "split" not in line] for log in logs
            ]
    return Table(found, repeats_table(found), details=losses)


def draw(table: Table, runs: Runs) -> Figures:
    """A panel of training losses for each task, and the table below them."""
    titles = {task: f"{task} ({module.rsplit('.', 1)[-1]})" for task, module in TASKS.items()}
    panels = {titles[task]: losses for task, losses in table.details.items()}
    return {"loss": draw_repeats(panels, "training loss", table.lines)}


if __name__ == "__main__":
    main(PRESETS, study=study)
