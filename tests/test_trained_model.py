"""`ssl_jax.load`: a trained model gives what the run's data, evaluation and commands give, in the order of the inputs.

Likelihoods are compared with the evaluation of a run in tests/evals/test_text_likelihood.py, scores of anomalies with
the report of a run in tests/experiments/whole_runs/test_every_experiment.py.
"""

import dataclasses
import io
import json
import re
import shutil
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import ssl_jax
from experiments import bert, cbow, image_classifier, summarize, vae, vqvae
from ssl_jax import cli, embed, export, generate, predict
from ssl_jax.errors import UserError
from ssl_jax.method import evaluate, split_variables
from ssl_jax.models.bert import BertEncoder
from ssl_jax.models.encoder_decoder import EncoderDecoder
from ssl_jax.runs.opening import open_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.runs.text_features import as_applied
from ssl_jax.training.mapping import map_examples
from ssl_jax.training.sharding import MeshConfig, make_mesh
from tests import cases
from tests.runs.test_encoders import tune, tuning
from tests.runs.test_warm_start import begin
from tests.test_generate import gpt2_weights  # noqa: F401

TEXTS = ["Abba bad.", "", "cafe " * 60, "feed"]


def begun(name, module, folder, *more):
    """A run in small, saved before its first step."""
    words = map(str, [*cases.SMALL[name](folder), *cases.length(2, 1), *more])
    config = cli.parse([*words], module.PRESETS, name).config
    begin(folder / name, config, module=module)
    return str(folder / name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_JAX_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def images_run(folder):
    return begun("vqvae", vqvae, folder)


@pytest.fixture(scope="module")
def classifier_run(folder):
    return begun("image_classifier", image_classifier, folder)


@pytest.fixture(scope="module")
def text_run(folder):
    return begun("bert", bert, folder)


def heldout_images(run):
    """The held-out images of a run: its data set, and uint8 `[images, height, width]`."""
    heldout = run.data.heldout[0]["heldout"]
    return heldout, np.stack([heldout[i]["image"][..., 0] for i in range(len(heldout))])


def test_images_have_the_features_codes_and_errors_of_the_run(images_run, tmp_path):
    run, model = open_run(RunReference.parse(images_run)), ssl_jax.load(images_run)
    assert (model.reads, model.name) == ("images", f"{images_run}@0")
    assert model.abilities == ("embed", "reconstruct", "encode", "decode")
    heldout, pixels = heldout_images(run)
    size = {"mesh": run.mesh, "batch_size": run.experiment.train.batch_size}
    variables = run.restore()
    features = map_examples(run.experiment.represent, variables, heldout, **size)
    np.testing.assert_array_equal(model.embed(pixels), features)

    codes, images = model.encode(pixels), model.reconstruct(pixels)
    assert codes.shape == (len(pixels), 4, 4)
    assert len(np.unique(codes)) > 1
    np.testing.assert_allclose(model.decode(codes), images, atol=1e-6)
    batch = {"image": pixels[..., None], "extent": np.full((len(pixels), 2), 8, np.int32)}
    batch |= {"label": np.zeros(len(pixels), np.int32), "example_weight": np.ones(len(pixels), np.float32)}
    found = evaluate(run.experiment.method, *split_variables(variables), batch, jax.random.key(0))
    error = np.square(images[..., 0] - pixels / 255).mean()
    assert error == pytest.approx(float(found["error"].sum / found["error"].weight), rel=1e-4)

    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file, array in zip(files, pixels, strict=False):
        Image.fromarray(array).save(file)
    for same in (files, [str(file) for file in files], [pixels[0], files[1], pixels[2] / 255.0]):
        np.testing.assert_allclose(model.embed(same), features[:3], atol=1e-5)
    np.testing.assert_allclose(model.embed(files[::-1]), features[:3][::-1], atol=1e-5)


def test_texts_have_the_mean_of_their_states_in_their_order(text_run):
    run, model = open_run(RunReference.parse(text_run)), ssl_jax.load(text_run, batch_size=2)
    assert model.abilities == ("embed",)
    config = as_applied(run.config.model)
    special, params = model.tokenizer.special, run.restore()["params"]["encoder"]
    ids = [
        [special.cls, *model.tokenizer.encode(text)[: config.positions - 2], special.sep] for text in TEXTS
    ]
    lengths = [*map(len, ids)]
    assert lengths[2] == config.positions  # it is cut off
    tokens = jnp.array([row + [0] * (config.positions - len(row)) for row in ids], jnp.int32)
    present = jnp.array([[1] * n + [0] * (config.positions - n) for n in lengths], jnp.int32)
    states = jax.jit(BertEncoder(config).apply)({"params": params}, tokens, 0 * tokens, present).hidden
    expected = [np.asarray(row[:n]) for row, n in zip(states, lengths, strict=True)]
    means = np.stack([states.mean(0) for states in expected])
    np.testing.assert_allclose(model.embed(TEXTS), means, atol=2e-5)
    np.testing.assert_allclose(model.embed(TEXTS[::-1]), means[::-1], atol=2e-5)
    last = np.stack([states[-1] for states in expected])
    np.testing.assert_allclose(model.embed(TEXTS, pooling="last"), last, atol=2e-5)


def test_a_language_model_writes_what_the_command_writes(gpt2_weights):  # noqa: F811
    model, out = ssl_jax.load(str(gpt2_weights)), io.StringIO()
    assert model.abilities == ("embed", "score", "generate")
    words = [str(gpt2_weights), "--prompt", "ab", "--prompt", "c", "--samples", "2", "--max_new_tokens", "5"]
    generate.main([*words, "--temperature", "0.5", "--seed", "3"], out, io.StringIO())
    texts = model.generate(["ab", "c"], samples=2, max_new_tokens=5, temperature=0.5, seed=3)
    parts = [part.split("\n", 1)[1].removesuffix("\n") for part in out.getvalue().split("--- ")[1:]]
    assert texts == parts
    scores = model.score(["ab", ""])
    assert scores["tokens"].tolist() == [3, 1]
    assert model.embed(["ab", ""]).shape == (2, 16)
    with pytest.raises(UserError, match="beam search draws nothing"):
        model.generate("ab", samples=2, beams=2)


def test_images_are_classified_by_name(classifier_run, tmp_path):
    """By the classes of the data, which are kept in the run folder; the network has not been trained."""
    run, model = classifier_run, ssl_jax.load(classifier_run)
    assert model.abilities == ("embed", "predict")
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    files = [photos / "b.png", photos / "deep" / "a.png"]
    for file in files:
        Image.fromarray(np.full((9, 12), 99, np.uint8)).save(file)
    found = model.predict(files)
    assert [one["file"] for one in found] == [*map(str, files)]
    assert found[0]["probabilities"] == dict.fromkeys("0123456789", pytest.approx(0.1))
    assert model.predict(np.zeros((2, 8, 8), np.uint8))[1]["label"] == "0"
    out = io.StringIO()
    assert predict.main([run, str(photos)], out, io.StringIO()) == 0
    assert out.getvalue().splitlines() == [f"0\t0.1000\t{file}" for file in files]
    out = io.StringIO()
    assert predict.main([run, "--json"], out, io.StringIO(f"{files[1]}\n")) == 0
    assert json.loads(out.getvalue()) == found[1]
    with pytest.raises(UserError, match=r"none\.png: no such file or folder"):
        predict.main([run, str(photos / "none.png")], io.StringIO(), io.StringIO())


def test_a_text_is_the_mean_of_the_vectors_of_its_words(folder):
    run = begun("cbow", cbow, folder)
    model, opened = ssl_jax.load(run), open_run(RunReference.parse(run))
    assert (model.abilities, model.reads) == (("embed",), "text")
    vectors = np.asarray(opened.restore()["params"]["input"]["embedding"])
    first, second, third = model.tokenizer.pieces(range(104, 107))
    text = f"{first} {second} qqq {third} {third}"
    expected = vectors[[104, 105, 106, 106]]
    found = model.embed([text, "qqq", ""])
    np.testing.assert_allclose(found, [expected.mean(0), 0 * expected[0], 0 * expected[0]], rtol=1e-5)
    for pooling, word in (("first", 0), ("last", 3)):
        np.testing.assert_array_equal(model.embed([text], pooling=pooling)[0], expected[word])
    with pytest.raises(UserError, match=r"cbow cannot be exported; .*word2vec's text format"):
        export.export(run, Path("out"))


def test_the_text_of_a_summarizer_is_that_of_its_generator(text_run):
    tokenizer, config = ssl_jax.load(text_run).tokenizer, summarize.PRESETS["tiny"]
    sizes = {"layers": 1, "decoder_layers": 1, "width": 16, "heads": 2, "mlp_width": 32}
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, vocab_size=120, **sizes))
    ids = np.array([[tokenizer.special.cls, *tokenizer.encode("Abba bad."), tokenizer.special.sep]], np.int32)
    network, inputs = EncoderDecoder(as_applied(config.model)), (ids, np.ones_like(ids))
    params = jax.jit(network.init)(jax.random.key(0), *inputs, ids)["params"]
    text = summarize.build(config).inference.text
    encoder = text({"generator": {"model": params}}, tokenizer, make_mesh(MeshConfig()))
    states = network.apply({"params": params}, *inputs, method="encode")
    np.testing.assert_allclose(encoder.embed(["Abba bad."], "mean", 1), states.mean(1), atol=2e-5)


def test_mistakes_are_explained(images_run, text_run, tmp_path):
    images, text = ssl_jax.load(images_run), ssl_jax.load(text_run)
    (tmp_path / "text.png").write_text("no image")
    for call, message in (
        (
            lambda: text.generate("a"),
            r"bert@0: a model of experiments\.bert cannot generate; it can embed\. Runs that can generate: bart, gpt2",
        ),
        (lambda: images.predict(["a"]), r"cannot predict; it can embed, reconstruct, encode, decode\."),
        (lambda: text.embed("a text"), "a single str was given; expected a list of text"),
        (lambda: text.embed([]), "there are no inputs"),
        (lambda: text.embed(["a", 3]), "input 2 is of type int; expected a text"),
        (lambda: images.embed([tmp_path / "none.png"]), r"none\.png': no such file"),
        (lambda: images.embed([tmp_path / "text.png"]), r"text\.png': cannot be read as an image"),
        (lambda: images.embed(np.zeros((8, 8), np.uint8)), r"image 1 has the shape \(8,\)"),
        (lambda: images.embed(np.full((1, 8, 8), 255.0)), "image 1 has values from 255 to 255"),
        (lambda: images.embed(np.full((1, 8, 8), np.nan)), "image 1 has values from nan"),
        (lambda: images.embed(np.zeros((1, 8, 8), np.int32)), "image 1 has the dtype int32"),
        (lambda: ssl_jax.load(str(tmp_path / "none")), "none: not a run folder"),
        (lambda: ssl_jax.load(text_run, batch_size=0), "batch_size 0: expected at least 1"),
    ):
        with pytest.raises(UserError, match=message):
            call()


def embedded(*words):
    """What the command writes and prints."""
    lines = []
    assert embed.main([str(word) for word in words], lines.append) == 0
    output = words[words.index("--output") + 1]
    with np.load(output) as found:
        return dict(found), lines


def test_the_command_embeds_files_and_keeps_their_names(images_run, text_run, tmp_path):
    pixels = np.arange(128, dtype=np.uint8).reshape(2, 8, 8)
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for name, array in zip(("b.png", "deep/a.png"), pixels, strict=True):
        Image.fromarray(array).save(tmp_path / "photos" / name)
    names = [str(tmp_path / "photos" / name) for name in ("b.png", "deep/a.png")]
    output = tmp_path / "new" / "codes.npz"
    found, lines = embedded(images_run, tmp_path / "photos", names[0], "--what", "codes", "--output", output)
    assert found["names"].tolist() == [*names, names[0]]
    codes = ssl_jax.load(images_run).encode(pixels)
    np.testing.assert_array_equal(found["codes"], codes[[0, 1, 0]])
    assert lines == [f"{images_run}@0: names [3], codes [3, 4, 4] of 3 inputs are in {output}"]

    (tmp_path / "a.txt").write_text("Abba.\n\nbad\n")
    found, _ = embedded(text_run, tmp_path / "a.txt", "--output", tmp_path / "a.npz")
    assert found["names"].tolist() == [f"{tmp_path}/a.txt:{line}" for line in (1, 2, 3)]
    expected = ssl_jax.load(text_run).embed(["Abba.", "", "bad"])
    np.testing.assert_array_equal(found["features"], expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["RUN", "a.txt", "--output", "a.txt"], "expected the name of an .npz file"),
        (["absent", "a.txt", "--output", "a.txt/x.npz"], r"a\.txt/x\.npz cannot be written"),
        (["RUN", "a.txt", "--output", "x.npz", "--what", "codes"], "cannot encode; it can embed"),
        (["RUN", "b.txt", "--output", "x.npz"], r"b\.txt'?: no such file"),
        (["RUN", "--output", "x.npz"], "no files: name text files"),
    ],
)
def test_mistakes_of_the_command(words, message, text_run, tmp_path, monkeypatch):
    """The output is checked before the run is opened."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("Abba.\n")
    with pytest.raises(UserError, match=message):
        embed.main([text_run if word == "RUN" else word for word in words], print)
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def blocks(document):
    """The indented blocks of a document."""
    found = re.findall(r"\n\n((?:    .*\n|\n(?=    ))+)", document.read_text())
    return [textwrap.dedent(block).strip() for block in found]


def test_the_guide_runs_as_it_is_written(
    images_run,
    text_run,
    classifier_run,
    gpt2_weights,  # noqa: F811
    folder,
    tmp_path,
    monkeypatch,
):
    """docs/using_a_trained_model.md, its commands and its Python, on runs in small and on imported weights."""
    monkeypatch.chdir(tmp_path)
    sources = {
        "vqvae-digits": images_run,
        "vae-digits": begun("vae", vae, folder),
        "image_classifier-digits": classifier_run,
        "bert-tiny": text_run,
        "gpt2-tiny": gpt2_weights,
    }
    for name, source in sources.items():
        shutil.copytree(source, tmp_path / "runs" / name)
    tune(tmp_path / "runs" / "sequence_classification-tiny", tuning(tmp_path, from_scratch=True))
    (tmp_path / "photos").mkdir()
    for name in "ab":
        Image.fromarray(np.full((9, 12), 99, np.uint8)).save(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "texts.txt").write_text("The sum.\nAn empty list.\n")
    namespace = {}
    for block in blocks(Path(__file__).parents[1] / "docs" / "using_a_trained_model.md"):
        if "pip install" in block:
            continue
        if not block.startswith("python -m"):
            exec(block, namespace)
            continue
        for line in block.split("\n"):
            module, *words = line.removeprefix("python -m ssl_jax.").split()
            command = {
                "embed": lambda words: embed.main(words, print),
                "export": lambda words: export.main(words, io.StringIO()),
                "predict": lambda words: predict.main(words, io.StringIO(), io.StringIO()),
            }[module]
            assert command(words) == 0
    assert namespace["features"].shape == (2, 64)
    assert len(namespace["texts"]) == 4
    with np.load("scores.npz") as scores:
        assert [*scores] == ["names", "bits_per_dim", "elbo", "importance_weighted_bound"]
    lines = [json.loads(line) for line in (tmp_path / "classes.jsonl").read_text().splitlines()]
    assert lines == namespace["classes"]
    with np.load("again.npz") as again, np.load("texts.npz") as first:
        np.testing.assert_allclose(again["features"], first["features"], atol=1e-5)
        assert first["names"].tolist() == ["texts.txt:1", "texts.txt:2"]
