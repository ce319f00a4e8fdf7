"""The command that writes a run in Hugging Face's layout: which files, and that they are read here again.

What transformers computes with them is compared in tests/parity/test_export.py.
"""

import dataclasses
import io
import json
import os

import jax
import numpy as np
import pytest
import tokenizers
from etils import epath
from safetensors.numpy import load_file

import ssl_jax
from experiments import dino, minimal, multilingual_bert, rotation, sequence_classification, simclr, t5
from ssl_jax import export
from ssl_jax.errors import UserError
from ssl_jax.hub.bert import load_bert
from tests.runs.test_encoders import assert_same_encoder, encoder, source_config, tune, tuning
from tests.runs.test_warm_start import begin, cache  # noqa: F401
from tests.test_generate import denoiser

TEXTS = ["The Cat sat, grey.", "  two  spaces\tand 😀 ", "a café and the café"]


def test_a_fine_tuned_run(tmp_path):
    run = tune(tmp_path / "run", tuning(tmp_path, from_scratch=True))
    folder, out = epath.Path(tmp_path / "exported"), io.StringIO()
    assert export.main([str(tmp_path / "run"), str(folder)], out) == 0
    files = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"]
    assert sorted(file.name for file in folder.iterdir()) == files
    assert out.getvalue() == f"{tmp_path / 'run'}@0 is in {folder}: {', '.join(files)}\n"

    _, params = load_bert(folder)
    jax.tree.map(np.testing.assert_array_equal, params, jax.device_get(run.state.params))
    settings = json.loads((folder / "config.json").read_text())
    assert settings["architectures"] == ["BertForSequenceClassification"]
    assert settings["id2label"] == {"0": "cat", "1": "no cat"}
    assert settings["label2id"] == {"cat": 0, "no cat": 1}
    assert settings["problem_type"] == "single_label_classification"
    assert settings["classifier_dropout"] == 0.1

    inputs = json.loads((folder / "tokenizer_config.json").read_text())["model_input_names"]
    assert "token_type_ids" in inputs
    tokenizer = run.data.details.tokenizer
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    cls, sep = tokenizer.special.cls, tokenizer.special.sep
    for text in TEXTS:
        assert theirs.encode(text).ids == [cls, *tokenizer.encode(text), sep]
    pair = theirs.encode(TEXTS[0], TEXTS[2])
    second = [*tokenizer.encode(TEXTS[2]), sep]
    assert pair.ids == [cls, *tokenizer.encode(TEXTS[0]), sep, *second]
    assert pair.type_ids == [0] * (len(pair.ids) - len(second)) + [1] * len(second)

    again = tune(tmp_path / "again", tuning(tmp_path), folder, save=False)
    assert_same_encoder(encoder(again), encoder(run))
    assert again.data.preprocessing == run.data.preprocessing

    assert export.main([str(tmp_path / "run"), str(folder)], io.StringIO()) == 0  # the very same files
    (folder / "notes.txt").write_text("precious")
    with pytest.raises(UserError, match="exported: it has other files already"):
        export.main([str(tmp_path / "run"), str(folder)], io.StringIO())
    assert (folder / "notes.txt").read_text() == "precious"


def test_a_run_that_writes_text(tmp_path):
    """A T5, whose sentinels the tokenizer of the run does not know, with ordinary permissions of files."""
    _, tokenizer = denoiser(epath.Path(tmp_path / "run"), t5, sentinels=9)
    export.export(str(tmp_path / "run"), epath.Path(tmp_path / "exported"))
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "exported" / "tokenizer.json"))
    cls, sep, size = tokenizer.special.cls, tokenizer.special.sep, tokenizer.vocab_size
    for text in TEXTS:
        assert theirs.encode(text).ids == [cls, *tokenizer.encode(text), sep]
    assert theirs.encode(f"<extra_id_0><unused_{size}>").ids[1:-1] == [size + 8, size]
    settings = json.loads((tmp_path / "exported" / "config.json").read_text())
    assert settings["decoder_start_token_id"] == settings["pad_token_id"] == tokenizer.special.pad
    usual = os.stat(tmp_path / "run" / "config.json").st_mode
    assert {os.stat(file).st_mode for file in (tmp_path / "exported").iterdir()} == {usual}

    model = ssl_jax.load(str(tmp_path / "exported"))
    run = ssl_jax.load(str(tmp_path / "run"))
    assert model.abilities == run.abilities == ("embed", "generate")
    gap = ["the [MASK] sat"]
    assert model.generate(gap, beams=2, max_new_tokens=4) == run.generate(gap, beams=2, max_new_tokens=4)
    np.testing.assert_allclose(model.embed(TEXTS), run.embed(TEXTS), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("module", [simclr, dino, rotation], ids=["simclr", "dino", "rotation"])
def test_the_encoder_of_a_run_on_views(module, tmp_path):
    """What is exported of every such method is its encoder; tests/models/test_resnet.py compares the arrays."""
    preset = next(iter(module.PRESETS.values()))
    encoder = dataclasses.replace(preset.encoder, blocks=(2, 1), width=8)
    experiment = module.build(dataclasses.replace(preset, encoder=encoder))
    shapes = jax.eval_shape(experiment.method.init, jax.random.key(0), experiment.phases[0].batch)
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), dict(shapes))
    experiment.export(epath.Path(tmp_path), variables, None)
    tensors = load_file(tmp_path / "model.safetensors")
    blocks = {name.rsplit(".", 2)[0] for name in tensors if name.startswith("layer")}
    assert blocks >= {"layer1.0", "layer1.1", "layer2.0", "layer2.0.downsample"}
    assert tensors["bn1.running_var"].shape == (8,)


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(tmp_path):
    begin(tmp_path / "digits", minimal.PRESETS["digits"], module=minimal)
    begin(tmp_path / "shared", source_config(tmp_path, share_layers=True))
    for run, message in (
        ("absent", r"absent: not a run folder"),
        ("digits@7", r"digits: has no checkpoint of step 7; there are 0"),
        ("digits", r"digits: a model of experiments\.minimal cannot be exported; expected a run of"),
        (
            "shared",
            r"out: Hugging Face's layouts have neither BERT with embedding_width nor ALBERT without it",
        ),
    ):
        with pytest.raises(UserError, match=message):
            export.main([str(tmp_path / run), str(tmp_path / "out")], io.StringIO())
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


@pytest.mark.parametrize(
    ("module", "fields", "message"),
    [
        (sequence_classification, {"shift": 1000}, "shifted by 1000, .* export a run with --shift 0"),
        (
            multilingual_bert,
            {"own_positions": True, "length": 12},
            "no positions of its own for each language; export a run with --own_positions False",
        ),
    ],
    ids=["shift", "own positions"],
)
def test_text_that_no_tokenizer_of_transformers_encodes_is_refused(module, fields, message, tmp_path):
    """Before anything is written."""
    experiment = module.build(dataclasses.replace(module.PRESETS["tiny"], **fields))
    with pytest.raises(UserError, match=message):
        experiment.export(epath.Path(tmp_path), {"params": {}}, None)
