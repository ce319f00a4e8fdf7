"""Token remap: what of a pretrained BERT helps on DNA or music (Kao and Lee 2021, arXiv:2103.07162).

    python -m experiments.token_remap_arms                            # offline: a BERT, then digits as sequences
    python -m experiments.token_remap_arms --init_from BERT_FOLDER --maps 5 --repeats 3 \\
        --rates 3e-4 1e-3 3e-3 --tried_maps 3 --each.data.source splice.tsv --each.labels n ei ie

Each run is one of experiments/token_remap.py. Four arms start it: `pretrained`; `random`, a random start; `shuffled`,
the pretrained tensors with their entries permuted, which has the same distribution of weights and no knowledge; and
`new_embeddings`, the pretrained layers on random word embeddings. Every arm has the same maps from symbols to pieces
and the same seeds, so that runs are compared in pairs. The learning rate of each arm is the one of `--rates` with the
best macro-F1 on the validation set with the first map; `--tried_maps 3` takes the mean of three, which is better where
runs with different maps are far apart.

arms.txt and arms.json have accuracy and macro-F1 on the held-out set beside nearest neighbours and logistic
regressions, and the comparison of the arms. In plots/arms.png every run is a dot; plots/loss.png and
plots/macro_f1.png have the learning curves.

Splice junctions of DNA (dna of the UCI repository, 332 of 3,186 held out), the default's BERT with learned positions
(--each.bert.model.position_encoding absolute), 150 steps of 16 sequences, rates 3e-4, 1e-3, 3e-3 with --tried_maps 3, 5
maps, 3 seeds (2 AMD cores, 27 November 2026): median macro-F1 pretrained 79.8 (53.2 to 90.0), random 71.1 (47.3 to
80.5), shuffled 72.6 (63.9 to 79.5), new_embeddings 75.1 (42.4 to 86.7). Pretrained is better than random in 13 of 15
pairs and with 5 of 5 maps (p 0.012), than shuffled in 13 pairs and with 3 maps (p 0.055), than new_embeddings in 11
pairs and with 5 maps (p 0.035): what the layers have learnt helps in so few steps. Nearest neighbours reach 84.0, a
logistic regression on positions 94.3: none of the arms is a good classifier yet. Folk songs by region (853 of 8,514
held out, 7 classes, first 64 symbols), the same settings: pretrained 22.7 (20.8 to 23.1), random 21.8 (10.3 to 22.5),
shuffled 21.8 (18.5 to 23.2), new_embeddings 22.3 (20.3 to 23.1), most frequent class 10.3, n-grams 33.2, nearest
neighbours 34.5. Pretrained is better than random with 5 of 5 maps, by 1.1 points (p 0.004): too little to matter.

The default, with the same BERT (digits as sequences of four grey levels, 300 held out, 3 maps, one seed, one rate; 2
AMD cores, 28 November 2026), median macro-F1: new_embeddings 82.1 (75.0 to 83.2), random 68.6 (51.8 to 77.9), shuffled
54.6 (51.6 to 59.8), pretrained 53.5 (38.2 to 62.7). With each map new_embeddings is the best, as if the layers helped
there and the embeddings of words did harm; of three pairs the least p is 0.25. Nearest neighbours reach 94.0, a
logistic regression on positions 96.0.

all-MiniLM-L6-v2 (6 layers of 384, trained further as an encoder of sentences; its weights rounded to half precision)
on DNA, 500 steps of 16 sequences with 50 of warm-up, rates 1e-4 and 3e-4 with --tried_maps 3, 5 maps, 3 seeds (one
NVIDIA H200, float32, 27 November 2026): median macro-F1 pretrained 93.1 (87.6 to 94.7), random 85.2 (79.8 to 90.2),
shuffled 79.5 (59.7 to 90.0), new_embeddings 93.0 (87.1 to 95.2). Pretrained is better than random in 14 of 15 pairs
and with 5 of 5 maps (p 0.00012), than shuffled in 15 (p 0.00006), and like new_embeddings (9 of 15, p 0.42): it is
the layers that help, not the embeddings, and not the distribution of the weights. Nearest neighbours reach 84.1, a
logistic regression on positions 94.3. The rate matters more than the arm: at 3e-4 two of three pretrained runs end at
49, and all shuffled ones at the most frequent class (22.1).

On folk songs (regions with fewer than 160 songs as one class, 864 of 8,514 held out, 7 classes, first 64 symbols),
the same settings, one seed with four of the maps and two with another: pretrained 24.0 (23.6 to 24.4), random 23.7
(23.6 to 23.9), shuffled 23.5 (23.1 to 23.6), new_embeddings 23.5 (23.5 to 23.7); pretrained is better than
new_embeddings in 6 of 6 pairs (p 0.03), than random in 5 (p 0.09), by less than a point: too little to matter.
n-grams have 35.1, nearest neighbours 32.0. The two other seeds of the folk songs have not been run.
"""

import functools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from experiments import token_remap
from ssl_jax.cli import main
from ssl_jax.domains import PositiveFloat, PositiveInt, Settings, Text
from ssl_jax.errors import UserError
from ssl_jax.evals.arms_plot import draw_arms
from ssl_jax.evals.classification import class_metrics
from ssl_jax.evals.repeats_plot import draw_repeats
from ssl_jax.recipes.fine_tuning import BERT_RUN
from ssl_jax.recipes.labelled_text import HELDOUT
from ssl_jax.recipes.symbol_sequences import VALIDATION, baselines_of
from ssl_jax.reports.arms import Arm, Reference, arms_table, compare_arms
from ssl_jax.runs.prerequisites import PlannedRun
from ssl_jax.runs.study import Figures, Runs, Study, Table
from ssl_jax.training import metrics

BERT = "bert"
"""Name of the run that the others start from."""
METRIC = "macro_f1"
"""Rates are chosen by it, and arms compared."""
ArmName = Literal["pretrained", "random", "shuffled", "new_embeddings"]
EACH = replace(
    token_remap.OFFLINE, steps=150, schedule=replace(token_remap.OFFLINE.schedule, warmup_steps=15)
)
"""Half of the steps of a run by itself, so that the default with all of its runs takes minutes."""


@dataclass(frozen=True)
class Config(Settings):
    """Arms from one encoder, with several maps and seeds."""

    each: token_remap.Config = EACH
    """The configuration of each run. Its weights, learning rate, map and seed are replaced; its map and seed are the
    first."""
    arms: tuple[ArmName, ...] = get_args(ArmName)
    """How the encoder starts."""
    maps: PositiveInt = 3
    """Maps from symbols to pieces."""
    repeats: PositiveInt = 1
    """Seeds with each map."""
    rates: tuple[PositiveFloat, ...] = (1e-3,)
    """Learning rates that each arm is tried with; one for no choice."""
    tried_maps: PositiveInt = 1
    """Maps that the rates are tried with, each with the first seed; their mean decides."""
    init_from: Text = ""
    """RUN, RUN@STEP or a folder of weights that the arms start from; empty: a BERT is trained first."""

    def check_relations(self) -> None:
        for name in ("arms", "rates"):
            values = getattr(self, name)
            if not values or len({*values}) < len(values):
                raise UserError(
                    f"{name} {' '.join(map(str, values))}: expected at least one, each of them once."
                )
        if self.tried_maps > self.maps:
            raise UserError(f"tried_maps {self.tried_maps}: expected at most the {self.maps} of maps.")
        if self.each.from_scratch or self.each.weights != "pretrained":
            raise UserError("each: how the encoder starts is not set here. Give --arms.")


PRESETS = {"tiny": Config()}


def study(config: Config) -> Study:
    """A run of each arm and rate; then, with the best rate, a run of each arm, map and seed."""
    encoder = {} if config.init_from else {BERT: PlannedRun(BERT_RUN, "tiny", config.each.bert)}
    if len(config.rates) == 1:
        first = all_runs(config, dict.fromkeys(config.arms, config.rates[0]))
    else:
        tries = [tried_runs(config, arm, rate) for arm in config.arms for rate in config.rates]
        first = {name: run for of in tries for name, run in of.items()}
    return Study(
        name="arms",
        runs=encoder | first,
        table=lambda runs, folder: tabulate(config, runs),
        plot=functools.partial(draw, config),
        then=lambda runs: all_runs(config, best_rates(config, runs)),
    )


def arm_runs(config: Config, arm: ArmName, rate: float) -> dict[str, PlannedRun]:
    """The runs of an arm at a rate by name, one map after the other."""
    each, kept = config.each, arm if arm in ("shuffled", "new_embeddings") else "pretrained"
    return {
        f"{arm}-rate{rate:g}-map{number}-seed{seed}": PlannedRun(
            token_remap.__name__,
            "tiny",
            replace(
                each,
                from_scratch=arm == "random",
                weights=kept,
                data=replace(each.data, map=number),
                schedule=replace(each.schedule, learning_rate=rate),
                train=replace(each.train, seed=seed),
            ),
            config.init_from or BERT,
        )
        for number in range(each.data.map, each.data.map + config.maps)
        for seed in range(each.train.seed, each.train.seed + config.repeats)
    }


def tried_runs(config: Config, arm: ArmName, rate: float) -> dict[str, PlannedRun]:
    """Those of `arm_runs` that a rate is judged by: the first maps, with the first seed."""
    runs = [*arm_runs(config, arm, rate).items()]
    return dict(runs[: config.tried_maps * config.repeats : config.repeats])


def all_runs(config: Config, rates: Mapping[str, float]) -> dict[str, PlannedRun]:
    """The runs of all arms, each at its rate."""
    return {name: run for arm in config.arms for name, run in arm_runs(config, arm, rates[arm]).items()}


def best_rates(config: Config, runs: Runs) -> dict[str, float]:
    """By arm, the rate with the best result on the validation set, the mean of `tried_runs`.

    Raises:
      UserError: a run has no evaluation at its last step.
    """

    def result(arm: ArmName, rate: float) -> float:
        names = tried_runs(config, arm, rate)
        return statistics.fmean(last_metrics(runs[name], VALIDATION)[METRIC] for name in names)

    if len(config.rates) == 1:
        return dict.fromkeys(config.arms, config.rates[0])
    return {arm: max(config.rates, key=functools.partial(result, arm)) for arm in config.arms}


def last_metrics(run: Any, split: str) -> Mapping[str, float]:
    """The metrics of a run at its last step, as it logged them. Raises UserError if they are not there."""
    for line in reversed(metrics.read(run.folder)):
        if line.get("split") == split and line["step"] == run.experiment.steps:
            return line
    raise UserError(f"{run.folder}: its log has no evaluation of {split} at step {run.experiment.steps}.")


def tabulate(config: Config, runs: Runs) -> Table:
    """The metrics of all arms on the held-out set beside baselines."""
    rates = best_rates(config, runs)
    named = {"accuracy": "class_accuracy", METRIC: METRIC}
    found, logs = {}, {}
    for arm in config.arms:
        own = [runs[name] for name in arm_runs(config, arm, rates[arm])]
        last = [last_metrics(run, HELDOUT) for run in own]
        found[arm] = Arm(
            rates[arm],
            {name: [line[logged] for line in last] for name, logged in named.items()},
            [run.config.data.map for run in own],
        )
        logs[arm] = [metrics.read(run.folder) for run in own]
    data = own[0].data.details  # the sequences of all runs are the same
    baselines = {
        name: Reference(
            of.setting, class_metrics(data.heldout.labels, of.predictions, len(config.each.labels))
        )
        for name, of in baselines_of(data, config.each).items()
    }
    compared = {
        pair: {"runs": over_runs._asdict(), "maps": over_maps._asdict()}
        for pair, (over_runs, over_maps) in compare_arms(found, METRIC).items()
    }
    values = {
        "arms": {arm: of._asdict() for arm, of in found.items()},
        "baselines": {name: of._asdict() for name, of in baselines.items()},
        "comparisons": compared,
    }
    lines = arms_table(found, baselines, METRIC, len(data.heldout.labels))
    return Table(values, lines, details=logs)


def draw(config: Config, table: Table, runs: Runs) -> Figures:
    """The metrics of every run, and the learning curves of the arms."""
    names = ("accuracy", METRIC)
    arms = {name: {arm: of["metrics"][name] for arm, of in table.values["arms"].items()} for name in names}
    baselines = {
        name: {of: each["metrics"][name] for of, each in table.values["baselines"].items()} for name in names
    }

    def curves(split: str | None, metric: str) -> dict[str, Sequence]:
        return {
            arm: [
                [(line["step"], line[metric]) for line in log if line.get("split") == split] for log in logs
            ]
            for arm, logs in table.details.items()
        }

    losses = {"training": curves(None, "class_loss"), "held-out": curves(HELDOUT, "class_loss")}
    scores = {split: curves(split, METRIC) for split in (VALIDATION, HELDOUT)}
    return {
        "arms": draw_arms(arms, baselines, "a run with a map and a seed"),
        "loss": draw_repeats(losses, "loss"),
        METRIC: draw_repeats(scores, "macro F1"),
    }


if __name__ == "__main__":
    main(PRESETS, study=study)
