"""Zero-shot transfer: a multilingual BERT, fine-tuned in one language, is tested in others (arXiv:1909.09587).

    python -m experiments.zero_shot                                            # offline, English and a fake language
    python -m experiments.zero_shot words --init_from runs/ml --words.tags NOUN VERB ... \\
        --train en=train.conllu --test en=test.conllu de=german.conllu
    python -m experiments.zero_shot sentences --init_from WEIGHTS --train en=tfds:xnli:train --test en=... de=...

The runs are those of experiments.sequence_classification (sentences), token_classification (words) or
question_answering (questions), one for each language to train in and each seed. Beside them are runs that start at
random, with the same vocabulary: what they can do in the other language comes from pieces that both share. In the rows
`means moved`, the mean of the training text of the tested language is brought to that of the language of fine-tuning,
by a vector that is added to the input of the first layer (experiments/language_vector.py).

zero_shot.txt and zero_shot.json have the metrics for each language of training and of test, the median of the seeds
and their range; plots/ has the matrix. Offline, the sections of documentation are told apart, in English and in its
shifted form. Medians of 3 seeds and their range (27 November 2026, 2 AMD cores; by chance 25 %):
fine-tuned in English, accuracy in English 46.2 % (45.2 to 46.8) and in the fake language 40.6 (26.1 to 41.4), with
means moved 41.2 (34.6 to 42.0); from a random start 37.3 and 33.7. Fine-tuned in the fake language: 45.4 there and 36.7
(35.0 to 40.6) in English, with means moved 39.3 (38.3 to 41.2); from a random start 36.0 and 34.8.

Parts of speech, learnt from English (400 steps on the Brown corpus, whose tags were mapped to the universal ones) from
the models of a handbook in two languages that experiments/crosslingual_alignment.py describes, on the PUD treebanks,
3 seeds: English 75.8 %, German 48.8 (48.8 to 51.3), with means moved 53.6 (52.2 to 53.8); from a random start 65.2 and
28.6. With the model of English and Chinese 75.4 and 18.7 (16.6 to 19.6), with means moved 22.5 (20.2 to 23.6); from a
random start 60.9 and 13.8, where naming every Chinese word a noun gives 25.3.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Literal

from etils import epath

from experiments import multilingual_bert, question_answering, sequence_classification, token_classification
from ssl_jax.cli import main
from ssl_jax.domains import NonEmptyText, PositiveInt, Settings, Text
from ssl_jax.errors import UserError
from ssl_jax.evals.plots import draw_matrix
from ssl_jax.method import Tree
from ssl_jax.recipes.alignment import Embedder
from ssl_jax.recipes.labelled_text import HELDOUT
from ssl_jax.recipes.language_vector import with_vector
from ssl_jax.reports.repeats import repeats_table
from ssl_jax.runs.configuration import read_settings
from ssl_jax.runs.opening import OpenedRun
from ssl_jax.runs.prerequisites import PlannedRun
from ssl_jax.runs.reference import RunReference
from ssl_jax.runs.study import Figures, NamedRun, Runs, Study, Table
from ssl_jax.training.distributed import announce
from ssl_jax.training.evaluate import Evaluator
from ssl_jax.training.folder import CONFIG

MODEL = "multilingual"
"""Name of the run that is trained first."""
PRETRAINED, RANDOM = "multilingual", "random"
MOVED = "means moved"
Task = Literal["sentences", "words", "questions"]
Change = Callable[[Tree], Tree]
"""Of the parameters of a run."""
LONGER = replace(
    multilingual_bert.OFFLINE,
    length=64,
    one_sentence=False,
    model=replace(multilingual_bert.OFFLINE.model, positions=64),
    train=replace(multilingual_bert.OFFLINE.train, batch_size=72),
)
"""The offline model with rows as long as those of tagged words and of questions."""
MODULES = {
    "sentences": sequence_classification,
    "words": token_classification,
    "questions": question_answering,
}
METRICS = {"sentences": "class_accuracy", "words": "tag_accuracy", "questions": "answer_f1"}
"""What the plot shows, by task."""


@dataclass(frozen=True)
class Config(Settings):
    """Fine-tuning in some languages, tests in all."""

    task: Task = "sentences"
    """What is learnt."""
    train: tuple[NonEmptyText, ...] = ()
    """LANGUAGE=SOURCE of labelled text to fine-tune on, a run each. Empty: the embedded examples, in each language of
    the model."""
    test: tuple[NonEmptyText, ...] = ()
    """LANGUAGE=SOURCE of labelled text to test on. Empty: likewise, the held-out ones."""
    repeats: PositiveInt = 3
    """Seeds of each."""
    init_from: Text = ""
    """A run of experiments.multilingual_bert, RUN@STEP, or a folder of BERT weights; empty: one is trained first."""
    model: multilingual_bert.Config = multilingual_bert.OFFLINE
    """What is trained first."""
    sentences: sequence_classification.Config = field(
        default_factory=lambda: replace(sequence_classification.OFFLINE, length=24)
    )
    words: token_classification.Config = field(default_factory=lambda: token_classification.OFFLINE)
    questions: question_answering.Config = field(default_factory=lambda: question_answering.OFFLINE)

    def check_relations(self) -> None:
        if bool(self.train) != bool(self.test):
            raise UserError("train and test: give both, or neither for the embedded examples.")
        for entry in (*self.train, *self.test):
            name, _, source = entry.partition("=")
            if not (name.isidentifier() and source):
                raise UserError(f"{entry!r}: expected LANGUAGE=SOURCE, such as de=german.tsv.")
        if not self.train and self.init_from:
            raise UserError(
                "train and test: with init_from, give labelled text of its languages; the embedded examples are for "
                "the model that is trained first."
            )
        if not self.init_from and self.each.length > self.model.model.positions:
            raise UserError(
                f"{self.task}.length {self.each.length}: the model that is trained first has "
                f"{self.model.model.positions} positions; give --{self.task}.length {self.model.model.positions} or "
                "less, or more of --model.model.positions."
            )

    @property
    def each(self) -> Any:
        """The configuration of each run, up to its language and seed."""
        return getattr(self, self.task)


PRESETS = {
    "tiny": Config(),
    "sentences": Config(),
    "words": Config("words", model=LONGER),
    "questions": Config("questions", model=LONGER),
}


def study(config: Config) -> Study:
    """The multilingual model, then a run for each language, start and seed."""
    module = multilingual_bert.__name__
    first: dict[str, PlannedRun | NamedRun] = {}
    if not config.init_from:
        first[MODEL] = PlannedRun(module, "tiny", config.model)
    elif is_run_of(module, RunReference.parse(config.init_from).folder):
        first[MODEL] = NamedRun(config.init_from, module)
    known = fine_tuning_runs(config, sources(config.train)) if config.train else {}
    return Study(
        name="zero_shot",
        runs=first | known,
        table=lambda runs, folder: tabulate(config, runs),
        plot=lambda table, runs: draw(config, table),
        then=lambda runs: fine_tuning_runs(config, languages(config, config.train, runs)),
    )


def is_run_of(module: str, folder: epath.Path) -> bool:
    """Whether a folder is a run of an experiment, and not one of weights."""
    return (folder / CONFIG).exists() and read_settings(folder)[0].get("experiment") == module


def sources(entries: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """By language, what it changes of a fine-tuning run."""
    return {name: {"source": source} for name, _, source in (entry.partition("=") for entry in entries)}


def languages(config: Config, entries: tuple[str, ...], runs: Runs) -> dict[str, dict[str, Any]]:
    """As `sources`; the languages of the model with their shifts if none are named."""
    if entries:
        return sources(entries)
    return {language.name: {"shift": language.shift} for language in runs[MODEL].data.details.languages}


def in_language(each: Any, source: str | None = None, shift: int = 0) -> Any:
    """The configuration of a run on the text of a language."""
    data = each.data if source is None else replace(each.data, source=source)
    return replace(each, data=data, shift=shift)


def fine_tuning_runs(config: Config, of: Mapping[str, Mapping[str, Any]]) -> dict[str, PlannedRun]:
    """The runs by name, LANGUAGE-START-SEED."""
    each = config.each
    return {
        f"{name}-{start}-{seed}": PlannedRun(
            MODULES[config.task].__name__,
            "tiny",
            replace(
                in_language(each, **changes),
                from_scratch=start == RANDOM,
                train=replace(each.train, seed=seed),
            ),
            init_from=config.init_from or MODEL,
        )
        for name, changes in of.items()
        for start in (PRETRAINED, RANDOM)
        for seed in range(each.train.seed, each.train.seed + config.repeats)
    }


def tabulate(config: Config, runs: Runs) -> Table:
    """The metrics of every run in every language."""
    trained = languages(config, config.train, runs)
    tested = languages(config, config.test, runs)
    found: dict[str, dict[str, dict[str, list[float | None]]]] = {}
    for language in trained:
        for start in (PRETRAINED, RANDOM):
            own = [run for name, run in runs.items() if name.startswith(f"{language}-{start}-")]
            for other, changes in tested.items():
                announce(f"trained in {language} from a {start} start, tested in {other}")
                plain = [measure(config, run, changes, unchanged) for run in own]
                measured = {"": plain}
                if start == PRETRAINED and (move := moved_mean(runs, other, language)):
                    same = other == language  # its mean stays where it is
                    moved = plain if same else [measure(config, run, changes, move) for run in own]
                    measured[f", {MOVED}"] = moved
                for ending, metrics in measured.items():
                    names = own[0].experiment.headline[1:]
                    found.setdefault(f"{start}, in {language}{ending}", {})[other] = {
                        name: [of.get(name) for of in metrics] for name in names
                    }
    return Table(found, ["rows: fine-tuned in; columns: tested in", *repeats_table(found)])


def unchanged(params: Tree) -> Tree:
    """The parameters as they are."""
    return params


def moved_mean(runs: Runs, first: str, second: str) -> Change | None:
    """The change of an encoder that brings the mean input of one language to that of another.

    None if the languages of the pretraining are not known, or these two are not among them.
    """
    if MODEL not in runs or not {first, second} <= {*runs[MODEL].config.data.names}:
        return None
    model = runs[MODEL]
    sizes, opened = model.config.model, model.data.details
    embedder = Embedder(model, opened)

    def change(params: Tree) -> Tree:
        encoder = params["encoder"]
        # The states begin with those of the table of tokens, if these are as wide.
        means = [embedder.centre(encoder, opened[name])[-(sizes.layers + 1)] for name in (first, second)]
        return {**params, "encoder": with_vector(encoder, sizes, 0, means[1] - means[0])}

    return change


def measure(
    config: Config, run: OpenedRun, changes: Mapping[str, Any], change: Change
) -> Mapping[str, float]:
    """The metrics of a run on the text of a language, its parameters changed."""
    data = run.config.data
    if "source" in changes:
        data = replace(data, heldout_source=changes["source"])
    tested = replace(run.config, data=data, shift=changes.get("shift", 0))
    experiment = MODULES[config.task].build(tested)
    variables = dict(run.restore())
    params = change(variables.pop("params"))
    return Evaluator(experiment, run.mesh)(params, variables, experiment.open_data(run.folder), HELDOUT)


def draw(config: Config, table: Table) -> Figures:
    """A heat map of the medians."""
    metric = METRICS[config.task]
    tested = list(next(iter(table.values.values())))
    return {
        "zero_shot": draw_matrix(
            [[median(row[name][metric]) for name in tested] for row in table.values.values()],
            rows=list(table.values),
            columns=tested,
            title=metric.replace("_", " "),
            labels=("tested in", "start, and language of fine-tuning"),
        )
    }


if __name__ == "__main__":
    main(PRESETS, study=study)
