"""Every preset that claims a paper's settings has them, field by field, with the place where they were read.

The tables are in paper_presets_of_images.py, _of_text.py and _of_speech.py. Epochs are compared by the number of
examples that a run reads: whether a code drops the rest of an epoch or not makes less than 1 %.
"""

import dataclasses
import importlib
import inspect
import re
from pathlib import Path

import pytest

from tests.experiments import paper_presets_of_images as images
from tests.experiments import paper_presets_of_speech as speech
from tests.experiments import paper_presets_of_text as text

EXPERIMENTS = {
    file.stem: importlib.import_module(f"experiments.{file.stem}")
    for file in sorted((Path(__file__).parents[2] / "experiments").glob("[a-z]*.py"))
}
STATED = images.STATED | speech.STATED | text.STATED
ROWS = [
    (experiment, preset, field, value, source)
    for (experiment, preset), groups in STATED.items()
    for source, fields in groups
    for field, value in fields.items()
]
DEVIATIONS = images.DEVIATIONS + text.DEVIATIONS
OWN = {
    "digits",
    "tiny",
    "mnist",
    "tfds_mnist",  # but for two, which STATED has
    "longer",
    *(f"{name} stl10" for name in ("byol", "simclr")),
    *(
        f"{name} {data}"
        for name in (
            "anomaly_detection",
            "autoencoder",
            "denoising_autoencoder",
            "discrete_autoencoder",
            "vae",
        )
        for data in ("cifar10", "celeb_a")
    ),
    "vqvae celeb_a",
    "rotation imagenet",
    *(
        f"summarize {data}" for data in ("gigaword", "xsum", "cnn_dailymail")
    ),  # the paper's networks are recurrent
    "synthesised",
    "hubert second",
}
"""Presets, of all experiments or of one, whose settings are the project's own."""


def value_of(experiment, preset, field):
    found = EXPERIMENTS[experiment].PRESETS[preset]
    for part in field.split("."):
        found = found[int(part)] if part.isdigit() else getattr(found, part)
    return found


def same(value, expected):
    return value == (pytest.approx(expected, rel=1e-9) if isinstance(expected, float) else expected)


@pytest.mark.parametrize(("experiment", "preset"), STATED, ids=[" ".join(key) for key in STATED])
def test_fields_are_those_of_the_source(experiment, preset):
    wrong = [
        f"{field} is {value_of(experiment, preset, field)}, {source} has {value}"
        for name, of, field, value, source in ROWS
        if (name, of) == (experiment, preset) and not same(value_of(experiment, preset, field), value)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("row", images.EPOCHS, ids=lambda row: f"{row[0]} {row[1]}")
def test_epochs_and_warm_up_are_those_of_the_source(row):
    experiment, preset, epochs, examples, batch, warm_up, _ = row
    assert value_of(experiment, preset, "train.batch_size") == batch
    found = [value_of(experiment, preset, name) * batch for name in ("steps", "schedule.warmup_steps")]
    assert found == pytest.approx([epochs * examples, warm_up * examples], rel=1e-2)


@pytest.mark.parametrize("row", DEVIATIONS, ids=lambda row: " ".join(row[:3]))
def test_deviations_are_as_the_docstrings_say(row):
    experiment, preset, field, ours, theirs, _ = row
    assert same(value_of(experiment, preset, field), ours)
    assert ours != theirs


@pytest.mark.parametrize("experiment", sorted({name for name, _ in STATED}))
def test_docstrings_name_the_sources(experiment):
    """A repository or a paper of every table stands in the file, or in the recipe that it takes its settings from."""
    module = EXPERIMENTS[experiment]
    recipes = {
        inspect.getmodule(base)
        for base in type(next(iter(module.PRESETS.values()))).__mro__
        if base is not object
    }
    written = "".join(inspect.getsource(file) for file in {module, *recipes})
    sources = {source for name, _, _, _, source in ROWS if name == experiment}
    named = {re.match(r"[\w/:.-]+", source).group().rstrip(",") for source in sources}
    assert any(name in written for name in named), named


def test_every_preset_has_a_source_or_is_the_projects_own():
    unknown = [
        f"{name} {preset}"
        for name, module in EXPERIMENTS.items()
        if not name.startswith("_") and dataclasses.is_dataclass(next(iter(module.PRESETS.values())))
        for preset in module.PRESETS
        if (name, preset) not in STATED and not {preset, f"{name} {preset}"} & OWN and not studied(module)
    ]
    assert not unknown


def studied(module):
    """Whether it is a study, or a second stage, whose parts are presets of other experiments."""
    return hasattr(module, "study") or hasattr(module, "first_stage")
