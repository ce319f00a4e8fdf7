"""What can be done with the runs of every experiment: the table of the guide, and what messages say of it."""

import functools
import re

import pytest

from ssl_jax.runs import listing
from ssl_jax.runs.abilities import abilities
from ssl_jax.trained_model import WITH_ABILITY, TrainedModel
from tests.processes import ROOT

GUIDE = ROOT / "docs" / "using_a_trained_model.md"


@functools.cache
def experiments():
    """By name, every experiment of one run, built from its default preset, and what its runs can."""
    found = {}
    for full in listing.experiment_names():
        module = listing.import_experiment(full)
        if hasattr(module, "build"):
            config = next(iter(module.PRESETS.values()))
            experiment = module.build(config)
            more = {"convert": experiment.converter, "export": experiment.export}
            has = {*abilities(config, experiment), *(name for name, value in more.items() if value)}
            found[full.removeprefix("experiments.")] = experiment, has
    return found


def table():
    """The rows of the guide: what the runs of each experiment can."""
    first = GUIDE.read_text().split("\n| runs of | can |\n")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (`.+?) \| ([^|]+) \|", first, re.MULTILINE)
    by_name = {}
    for names, can in rows:
        for name in re.findall(r"`(\w+)`", names):
            assert name not in by_name, f"{name} is in two rows"
            by_name[name] = {*re.findall(r"`(\w+)`", can)}
    return by_name


def test_the_guide_says_of_every_experiment_what_its_runs_can():
    assert table() == {name: has for name, (_, has) in experiments().items()}


def test_every_method_is_one_of_a_trained_model_and_some_experiment_has_it():
    of_models = {name for _, has in experiments().values() for name in has} - {"convert", "export"}
    assert of_models == {*WITH_ABILITY}
    assert all(callable(getattr(TrainedModel, name)) for name in of_models)


@pytest.mark.parametrize("method", WITH_ABILITY)
def test_messages_name_the_experiments_that_have_a_method(method):
    named = {*re.findall(r"\w+", WITH_ABILITY[method])} & {*experiments()}
    have = {name for name, (_, has) in experiments().items() if method in has}
    if "those" in WITH_ABILITY[method]:  # groups of experiments
        assert named <= have
    else:
        assert named == have


def test_what_is_not_exported_has_a_reason_or_no_other_library():
    """A sentence, which follows the list of experiments that can be exported."""
    reasons = {name: one.not_exported for name, (one, _) in experiments().items() if one.not_exported}
    assert {*reasons} == {"cbow", "summarize", "token_remap"}
    for name, reason in reasons.items():
        assert experiments()[name][0].export is None
        assert reason[0].isupper()
        assert reason[-1] == "."
