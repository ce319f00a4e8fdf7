"""What BERT learns when: words, layers and facts over the checkpoints (Chiang et al. 2020, arXiv:2010.02480).

    python -m experiments.embryology                                       # offline: a BERT is trained first
    python -m experiments.embryology --repeats 3                           # three seeds
    python -m experiments.embryology --runs runs/bert-0 runs/bert-1        # runs that exist, of bert or albert
    python -m experiments.embryology --runs runs/bert-0 --measures.tagged pos.conll --measures.probes pos=pos.conll
    python -m experiments.embryology --runs runs/bert-0 --measures.cloze facts.tsv
    python -m experiments.embryology --downstream_steps 150                # fine-tuned from some checkpoints, too

The kept checkpoints of runs that differ in their seeds alone are measured at up to `--points` steps, spaced by their
logarithms. Runs keep a checkpoint every train.keep_every steps.

Held-out words are masked one at a time, with all their pieces: a word is predicted if all its pieces are right. It is
reconstructed if its pieces are right where nothing is masked. Both are measured for each class of words: parts of
speech of a tagged file, or classes by lists of English words. Classes differ in how frequent their words are, so there
are also accuracies at equal frequency, which rest on fewer words (the table has their number). The n-gram baseline
predicts each piece from its two neighbours. A linear probe of every layer predicts tags from the vectors of words,
beside the most frequent tag of each word and the probe of the model before its first step. Facts are sentences with a
blank: the rank of the right word.

embryology.txt has tables, and for each class the step at which half of its last accuracy is reached; embryology.json
has all values; plots/ has a figure for each question. A model that has learnt nothing but that "the" is the most
frequent word predicts half of all determiners: read the steps of the most frequent class beside its curve.

A BERT of bert's default size on the Brown corpus and the State of the Union speeches, three seeds, 300 words of each
part of speech in held-out sentences of Brown, medians (experiments.bert --pair_task none --phases.0.length 32
--model.position_encoding absolute --train.batch_size 144 --schedule.learning_rate 3e-3 --steps 2500 --train.save_every
50 --train.keep_every 50; 2 AMD cores, 27 November 2026). Reconstruction comes before prediction: half of its last
accuracy is reached at steps 61 to 311, of prediction at steps 252 to 1,415, but for determiners, which "the" predicts
from the first checkpoint on. Punctuation and prepositions are predicted first (252 and 669), then pronouns, particles
and auxiliaries (704 to 864), adjectives, conjunctions and numbers (1,008 to 1,194), verbs and adverbs (1,243 and
1,316), nouns last (1,415); seeds differ by up to some 700 steps, and by 50 for nouns. Most of the order is one of
frequency: among words that are 512 to 2,047 times in the training text, half is reconstructed at steps 225 to 275 in
all classes but proper nouns (327). Predictions differ there too: determiners are at 15.8 % in the end (n-grams 13.5),
pronouns at 10.6, nouns 6.6 and verbs 6.0 (n-grams 14.5, 8.0 and 12.0), others below. The probe of parts of speech in
layer 1 is right for 64.7 % of the words before the first step and for 84.9 % at the end, the most frequent tag of each
word for 75.9 %; it rises between steps 450 and 1,050, as predictions do. Of 15 facts, made for this, 3 are filled in.

The default with learned positions (--bert.model.position_encoding absolute), one seed (2 AMD cores, 28 November 2026):
half of the last reconstruction is reached at steps 103 to 447 in all classes, of prediction at 516 (determiners) to
2,249 (other words), but for punctuation, of which the first checkpoint already predicts 48.7 %, and numbers, of which
none is predicted. Determiners alone reach the n-grams in 3,000 steps (57.7 %, n-grams 56.7). Of words that are 512 to
1,023 times in the training text, at least 93.4 % of each class are reconstructed and at most 2.0 % predicted (n-grams
10.7 to 25.0). The probe of words of code (3 tags) is right for 81.7 % in layer 1 before the first step, for 79.8 % at
step 200 and for 87.2 % at the end; the most frequent tag of each word, for 84.7 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from experiments import albert, sequence_classification, token_classification
from experiments import bert as pretraining
from ssl_jax.cli import main
from ssl_jax.domains import NonEmptyText, NonNegativeInt, PositiveInt, Settings, integers
from ssl_jax.errors import UserError
from ssl_jax.evals.embryology import class_curves, cloze_curves, probe_curves
from ssl_jax.evals.embryology_plot import draw_embryology
from ssl_jax.evals.learning_curves import log_spaced
from ssl_jax.recipes.embryology import Measures, MeasuresConfig, check_files
from ssl_jax.recipes.fine_tuning import FineTuningConfig
from ssl_jax.reports.embryology import embryology_lines
from ssl_jax.runs.configuration import read_run
from ssl_jax.runs.opening import OpenedRun
from ssl_jax.runs.prerequisites import PlannedRun
from ssl_jax.runs.reference import RunReference
from ssl_jax.runs.study import Figures, NamedRun, Runs, Study, Table
from ssl_jax.training import metrics
from ssl_jax.training.checkpoints import Checkpoints

MODULES = (pretraining.__name__, albert.__name__)
TASKS = {"sentences": sequence_classification.__name__, "words": token_classification.__name__}
"""Experiments of fine-tuning by the field of the configuration."""


@dataclass(frozen=True)
class Config(Settings):
    """What the checkpoints of pretraining have learnt."""

    runs: tuple[NonEmptyText, ...] = ()
    """Runs of experiments.bert or experiments.albert, RUN or RUN@STEP for the checkpoints up to a step, which differ in
    their seeds; none: `bert` is trained first."""
    repeats: PositiveInt = 1
    """Seeds of the BERT that is trained first, from bert.train.seed on."""
    bert: pretraining.Config = field(
        default_factory=lambda: replace(
            pretraining.OFFLINE, train=replace(pretraining.OFFLINE.train, save_every=100, keep_every=100)
        )
    )
    """What is trained if no run is named; its checkpoints are measured."""
    points: Annotated[int, integers(2, 1_000)] = 10
    """Checkpoints that are measured, at most, spaced by the logarithms of their steps."""
    measures: MeasuresConfig = field(default_factory=MeasuresConfig)
    downstream_steps: NonNegativeInt = 0
    """Steps of fine-tuning from some of the checkpoints; 0 for none."""
    downstream_points: Annotated[int, integers(2, 1_000)] = 4
    """Checkpoints that are fine-tuned, at most."""
    sentences: sequence_classification.Config = field(default_factory=lambda: sequence_classification.OFFLINE)
    words: token_classification.Config = field(default_factory=lambda: token_classification.OFFLINE)

    def check_relations(self) -> None:
        if len({*self.runs}) < len(self.runs):
            raise UserError(f"runs {' '.join(self.runs)}: expected each run once.")
        if not self.runs and self.bert.steps < 2 * self.bert.train.keep_every:
            raise UserError(
                f"bert.train.keep_every {self.bert.train.keep_every}: of {self.bert.steps} steps there would be a "
                "single checkpoint; give a smaller number that bert.train.save_every divides."
            )


PRESETS = {"tiny": Config()}


def study(config: Config) -> Study:
    """The pretraining runs, fine-tuning from some of their checkpoints, and what all checkpoints have learnt."""
    seeds = range(config.bert.train.seed, config.bert.train.seed + config.repeats)
    bases: dict[str, PlannedRun | NamedRun] = {run: NamedRun(run, MODULES) for run in config.runs} or {
        f"bert-{seed}": PlannedRun(
            pretraining.__name__, "tiny", replace(config.bert, train=replace(config.bert.train, seed=seed))
        )
        for seed in seeds
    }
    runs = bases | {
        name: planned
        for base in (bases if config.downstream_steps else ())
        for task in TASKS
        for step in downstream_steps(config)
        for name, planned in [fine_tuned(config, task, [*bases].index(base), base, step)]
    }
    return Study(
        "embryology",
        runs,
        lambda runs, folder: tabulate(config, {name: runs[name] for name in bases}, runs),
        draw,
        check=lambda: check_files(config.measures),
    )


def downstream_steps(config: Config) -> list[int]:
    """Steps of the checkpoints that are fine-tuned."""
    every, last = config.bert.train.keep_every, config.bert.steps
    kept = [kept_steps(RunReference.parse(run)) for run in config.runs] or [range(every, last + 1, every)]
    return log_spaced(common(kept), config.downstream_points)


def fine_tuned(config: Config, task: str, number: int, base: str, step: int) -> tuple[str, PlannedRun]:
    """(name, run) of a short fine-tuning from a checkpoint."""
    each: FineTuningConfig = getattr(config, task)
    steps = config.downstream_steps
    every = {"eval_every": steps, "save_every": steps, "keep_every": steps}
    short = replace(
        each,
        steps=steps,
        schedule=replace(each.schedule, warmup_steps=steps // 10),
        train=replace(each.train, **every),
    )
    source = f"{str(RunReference.parse(base).folder) if config.runs else base}@{step}"
    return f"{task}-{number}-{step}", PlannedRun(TASKS[task], "tiny", short, source)


def kept_steps(reference: RunReference) -> list[int]:
    """Steps of the checkpoints of a run, up to that which is named."""
    read_run(reference.folder, MODULES)
    steps = Checkpoints(reference.folder / "checkpoints").steps()
    return [step for step in steps if step and (reference.step is None or step <= reference.step)]


def common(kept: Sequence[Sequence[int]]) -> list[int]:
    """The steps of which all runs have a checkpoint. UserError if these are fewer than two."""
    steps = sorted(set.intersection(*map(set, kept)))
    if len(steps) < 2:
        raise UserError(
            f"the runs have {len(steps)} checkpoint(s) at the same steps; curves need two or more. Train with a "
            "smaller --train.save_every and --train.keep_every."
        )
    return steps


def tabulate(config: Config, bases: Runs, runs: Runs) -> Table:
    """Measures every run at every chosen checkpoint."""
    steps = common([[s for s in run.checkpoints.steps() if 0 < s <= run.step] for run in bases.values()])
    steps = log_spaced(steps, config.points)
    measures = Measures(config.measures, dict(bases))
    found = {name: [measures.at(name, step) for step in steps] for name in bases}
    untrained = {name: measures.untrained(name) for name in bases} if measures.probes else {}
    values: dict[str, Any] = {
        "runs": [*bases],
        "steps": steps,
        **class_curves(measures.classed, steps, found),
        "probes": probe_curves(measures.probes, found, untrained),
        "cloze": cloze_curves(measures.cloze, found) if measures.cloze else {},
        "downstream": downstream(config, bases, runs) if config.downstream_steps else {},
    }
    return Table(values, embryology_lines(values))


def downstream(config: Config, bases: Runs, runs: Runs) -> dict[str, Any]:
    """The metrics on held-out examples after fine-tuning, by task, metric and run."""
    steps = downstream_steps(config)
    tasks: dict[str, dict[str, dict[str, list[float | None]]]] = {}
    for task in TASKS:
        for number, base in enumerate(bases):
            own = [runs[f"{task}-{number}-{step}"] for step in steps]
            for metric in own[0].experiment.headline[1:]:
                tasks.setdefault(task, {}).setdefault(metric, {})[base] = [
                    last_metric(run, metric) for run in own
                ]
    return {"fine_tuning_steps": config.downstream_steps, "steps": steps, "tasks": tasks}


def last_metric(run: OpenedRun, metric: str) -> float | None:
    """A metric of the last evaluation; None where it is not defined."""
    return [line for line in metrics.read(run.folder) if "split" in line][-1].get(metric)


def draw(table: Table, runs: Runs) -> Figures:
    """A figure for each question."""
    return draw_embryology(table.values)


if __name__ == "__main__":
    main(PRESETS, study=study)
