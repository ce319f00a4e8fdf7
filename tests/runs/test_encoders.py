"""Where the encoder of a fine-tuning run is from: a run, weights, or a BERT that is trained first; and from scratch."""

import dataclasses
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from etils import epath

from experiments import bert, minimal, sequence_classification
from ssl_jax.data import pretraining_text
from ssl_jax.errors import UserError
from ssl_jax.hub.bert import save_bert
from ssl_jax.recipes.labelled_text import LabelledTextConfig
from ssl_jax.runs.opening import open_run
from ssl_jax.runs.reference import RunReference
from tests.runs.test_warm_start import begin, cache, config, corpus  # noqa: F401

TASK = sequence_classification


def source_config(folder: Path, **sizes: int) -> bert.Config:
    """A BERT with another seed, whose weights differ from those that the new run is initialised with."""
    own = config(folder)
    model, train = dataclasses.replace(own.model, **sizes), dataclasses.replace(own.train, seed=7)
    return dataclasses.replace(own, model=model, train=train)


def sentences(folder: Path) -> str:
    file = folder / "sentences.tsv"
    if not file.exists():
        lines = (
            Path(corpus(folder / "cats.txt", ("the cat sat on a mat", "the dog ran"))).read_text().split("\n")
        )
        rows = [f"{('cat', 'no cat')['cat' not in line]}\t{line}" for line in dict.fromkeys(lines) if line]
        file.write_text("\n".join(["label\ttext", *rows, ""]))
    return str(file)


def tuning(folder: Path, **fields: object) -> TASK.Config:
    """Fine-tuning of the BERT of `config` on sentences with a cat and without."""
    tiny = TASK.PRESETS["tiny"]
    first = dataclasses.replace(source_config(folder), steps=2)
    given = {
        "steps": 2,
        "length": 16,
        "labels": ("cat", "no cat"),
        "data": LabelledTextConfig(source=sentences(folder)),
        "bert": first,
        "schedule": dataclasses.replace(tiny.schedule, warmup_steps=0),
        "train": dataclasses.replace(tiny.train, batch_size=8, eval_every=1, save_every=1),
    }
    return dataclasses.replace(tiny, **(given | fields))


def tune(folder: Path, config: TASK.Config, init_from: object = None, *, save: bool = True):
    return begin(folder, config, init_from, TASK, save=save)


def encoder(run) -> dict:
    return run.state.params["encoder"]


def assert_same_encoder(found: dict, expected: dict) -> None:
    """Equal, but for a pooler that one of them lacks."""
    for name in found.keys() & expected.keys():
        jax.tree.map(np.testing.assert_array_equal, found[name], expected[name])
    assert {*found} - {"pooler"} == {*expected} - {"pooler"}


def test_a_run_brings_its_weights_its_sizes_and_its_tokenizer(tmp_path, monkeypatch, capsys):
    source = tmp_path / "source"
    old = begin(source, source_config(tmp_path, width=24))
    monkeypatch.setattr(pretraining_text, "train_sentencepiece", lambda *_, **__: pytest.fail("trained"))
    capsys.readouterr()
    new = tune(tmp_path / "new", tuning(tmp_path), source)  # which asks for a width of 16
    out = capsys.readouterr().out
    assert_same_encoder(encoder(new), encoder(old))
    assert new.data.preprocessing == old.data.preprocessing
    assert f"encoder of {source}: 1 layers of width 24, 24 positions, 300 pieces" in out
    assert "  classifier: new (2 arrays)" in out
    assert "  head: unused (" in out
    assert "arrays loaded" in next(line for line in out.splitlines() if line.startswith("  encoder: "))

    # The run folder is complete: it is continued, opened and started from without the source.
    shutil.rmtree(source)
    again = tune(tmp_path / "new", tuning(tmp_path), source, save=False)
    assert_same_encoder(encoder(again), encoder(old))
    opened = open_run(RunReference(epath.Path(tmp_path / "new")))
    assert opened.config.bert.model.width == 24
    jax.tree.map(np.testing.assert_array_equal, opened.restore()["params"], new.state.params)
    other = tuning(tmp_path, labels=("no cat", "cat", "dog"))
    third = tune(tmp_path / "third", other, tmp_path / "new", save=False)
    assert_same_encoder(encoder(third), encoder(old))
    assert third.state.params["classifier"]["dense"]["bias"].shape == (3,)

    (tmp_path / "new" / "encoder.json").unlink()
    with pytest.raises(UserError, match=r"has no encoder\.json"):
        open_run(RunReference(epath.Path(tmp_path / "new")))


def test_weights_bring_their_sizes_and_their_tokenizer(tmp_path, capsys):
    source, own = tmp_path / "source", source_config(tmp_path)
    old = begin(source, own)
    model = dataclasses.replace(own.model, pooler=False)
    params = {name: old.state.params[name] for name in ("encoder", "head")}
    del params["encoder"]["pooler"]
    save_bert(tmp_path / "weights", model, params)
    shutil.copy(source / "tokenizer.model", tmp_path / "weights")
    asked = tuning(tmp_path, bert=dataclasses.replace(own, model=dataclasses.replace(own.model, layers=3)))
    new = tune(tmp_path / "new", asked, tmp_path / "weights")
    assert_same_encoder(encoder(new), params["encoder"])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("  encoder: "))
    assert "new: pooler/bias, pooler/kernel" in line


def test_nothing_named_trains_a_bert_first(tmp_path, capsys):
    run = tune(tmp_path / "run", tuning(tmp_path))
    first = open_run(RunReference(epath.Path(tmp_path / "run" / "bert")), bert.__name__)
    assert first.step == 2
    assert_same_encoder(encoder(run), first.restore()["params"]["encoder"])
    assert first.data.preprocessing == run.data.preprocessing
    out = capsys.readouterr().out
    assert (
        f"{tmp_path / 'run'}: starting from a run of experiments.bert that is trained first, in bert/" in out
    )


def test_from_scratch_has_the_same_tokenizer_and_random_weights(tmp_path, capsys):
    scratch = tune(tmp_path / "scratch", tuning(tmp_path, from_scratch=True))
    assert not (tmp_path / "scratch" / "bert").exists()
    old = begin(tmp_path / "source", source_config(tmp_path))
    assert scratch.data.preprocessing == old.data.preprocessing
    capsys.readouterr()
    beside = tune(tmp_path / "beside", tuning(tmp_path, from_scratch=True), tmp_path / "source")
    out = capsys.readouterr().out
    assert f"starting from scratch, with the tokenizer and the sizes of {tmp_path / 'source'};" in out
    assert "arrays loaded" not in out
    kernels = [encoder(run)["layers"]["mlp"]["up"]["kernel"] for run in (scratch, beside, old)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (np.asarray(kernels[1]) != np.asarray(kernels[2])).any()


def test_what_cannot_be_an_encoder_is_refused_and_nothing_is_written(tmp_path):
    asked, new = tuning(tmp_path), tmp_path / "new"
    begin(tmp_path / "digits", minimal.PRESETS["digits"], module=minimal)
    with pytest.raises(UserError, match=r"a run of experiments\.minimal, which has no BERT encoder"):
        tune(new, asked, tmp_path / "digits")
    with pytest.raises(UserError, match="no such folder; expected a run, or a folder of BERT weights"):
        tune(new, asked, tmp_path / "absent")
    begin(tmp_path / "source", config(tmp_path))
    with pytest.raises(UserError, match=r"length 32: the encoder has 24 positions; give --length 24 or less"):
        tune(new, dataclasses.replace(asked, length=32), tmp_path / "source")
    other = tmp_path / "other"
    begin(other, config(tmp_path, ("red green blue", "Grey and pink on white")))
    named = LabelledTextConfig(source=sentences(tmp_path), tokenizer=str(other / "tokenizer.model"))
    with pytest.raises(UserError, match=r"its tokenizer .*source/tokenizer\.model is not data\.tokenizer"):
        tune(new, dataclasses.replace(asked, data=named), tmp_path / "source")
    with pytest.raises(
        UserError, match=r"the BERT that is trained first has another one.*--bert\.data\.tokenizer"
    ):
        tune(new, dataclasses.replace(asked, data=named))
    assert not new.exists()
