"""Every experiment in small: two steps, an evaluation, a checkpoint, a continuation from it, and the report."""

import functools
import io
import json
import math
import re
import shutil

import jax
import matplotlib.image
import numpy as np
import pytest
from scipy.io import wavfile

import ssl_jax
from experiments import t5
from ssl_jax import convert, linear_eval
from ssl_jax.data.digits import Digits
from ssl_jax.data.glue import read_glue
from ssl_jax.data.squad import read_squad
from ssl_jax.data.tokenizers import open_tokenizer
from ssl_jax.errors import UserError
from ssl_jax.evals import probe_comparison, probes
from ssl_jax.evals.entities import entity_scores
from ssl_jax.evals.sequence_baselines import KNN, MAJORITY, NGRAM_REGRESSION, POSITION_REGRESSION
from ssl_jax.predict import predictions as predictions_of
from ssl_jax.recipes import views as views_recipe
from ssl_jax.runs.listing import experiment_names, import_experiment
from ssl_jax.training import loop
from ssl_jax.training.compiling import Program
from tests import processes
from tests.cases import SMALL, given, length

NAMES = [name.removeprefix("experiments.") for name in experiment_names()]
STUDIES = [name for name in NAMES if hasattr(import_experiment(f"experiments.{name}"), "study")]
RUNS = [name for name in NAMES if name not in STUDIES]
TWO_STEPS = [*length(2, 1), *given("train", log_every=1, eval_every=2, save_every=1, keep_every=2)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder for the files that the experiments read; the text is tokenized once for all of one vocabulary."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_JAX_CACHE", str(folder / "cache"))
        yield folder


class CompiledSteps:
    """The compiled steps of a run, for the run that continues it: they are the same ones."""

    def __init__(self):
        self.compile, self.compiled, self.traced = Program.train_step, {}, {}

    def _key(self, program, phase, shape):
        arrays = (program.state, phase.batch if shape is None else phase.batch_of(shape.rows))
        return str(jax.tree.map(lambda x: (x.shape, x.dtype), arrays))

    def first(self, program, phase, shape, leave, look):
        # Of two programs with the same arrays, the later one is the run's; the one before it is a stage, which is over.
        key = self._key(program, phase, shape)

        def look_and_keep(traced):
            self.traced[key] = traced
            look(traced)

        self.compiled[key] = self.compile(program, phase, shape, leave, look_and_keep)
        return self.compiled[key]

    def again(self, program, phase, shape, leave, look):
        key = self._key(program, phase, shape)
        look(self.traced[key])
        return self.compiled[key]


@pytest.mark.parametrize("name", RUNS)
def test_an_experiment_trains_continues_and_reports(name, command, data, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    arguments = [*SMALL[name](data), *TWO_STEPS, "--workdir", folder]
    # Fewer draws of the few labels, and fewer fits on each, save time.
    monkeypatch.setattr(probe_comparison, "REPEATS", 2)
    monkeypatch.setattr(probes, "FOLDS", 2)
    steps = CompiledSteps()
    with monkeypatch.context() as killed:  # after its last step and before the report
        killed.setattr(loop.Run, "_report", lambda run: None)
        killed.setattr(Program, "train_step", lambda *which: steps.first(*which))
        code, _, error = command(name, *arguments)
    assert (code, error) == (0, "")
    log = processes.log(folder)
    evaluated = [(2, True)] * max(len({line["split"] for line in log[2:]}), 1)
    assert [(line["step"], "split" in line) for line in log] == [(1, False), (2, False), *evaluated]
    numbers = [value for line in log for value in line.values() if isinstance(value, float)]
    assert all(map(math.isfinite, numbers)), log

    shutil.rmtree(folder / "checkpoints" / "2")
    if name in ONE_REPORT:
        monkeypatch.setattr(views_recipe, "report_views", lambda report, *arguments, **options: None)
    monkeypatch.setattr(Program, "train_step", lambda *which: steps.again(*which))
    code, out, error = command(name, *arguments)
    assert (code, error) == (0, "")
    assert f"{folder}: continuing at step 1 of 2" in out
    assert processes.log(folder) == log
    assert (folder / "checkpoints" / "2").exists()
    assert not re.search(r"\bnan\b", out)
    assert_drawn(folder, "loss")
    if name in REPORTS:
        REPORTS[name](folder, out)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_has_tests_of_its_own(name):
    tests = (processes.ROOT / "tests" / "experiments").rglob("test_*.py")
    assert any(f"run({name}, " in file.read_text() for file in tests)


def assert_drawn(folder, *plots):
    for plot in plots:
        assert (folder / "plots" / f"{plot}.png").stat().st_size > 3000, plot


def read(folder, name):
    return json.loads((folder / name).read_text())


def heldout_digits():
    """The held-out digits, uint8 `[images, 8, 8]`, and their labels."""
    examples = [digits[i] for digits in [Digits(heldout=True)] for i in range(len(digits))]
    pixels = np.stack([example["image"] for example in examples]).reshape(-1, 8, 8)
    return np.rint(255 * pixels).astype(np.uint8), np.array([example["label"] for example in examples])


def error_of(images, pixels):
    """The mean squared error of images `[images, 8, 8, 1]` in [0, 1]."""
    return np.square(images[..., 0] - pixels / 255).mean()


def views(folder, out):
    """Probes of the representation beside others, and pictures."""
    assert [*read(folder, "probes.json")] == ["trained", "random init", "raw pixels"]
    assert_drawn(folder, "views", "map", "neighbours", "probes")


def labelled(folder, out):
    """As above; and the classes that are predicted of arrays are right as often as the evaluation says."""
    views(folder, out)
    pixels, labels = heldout_digits()
    found = ssl_jax.load(str(folder)).predict(pixels)
    right = np.mean([int(one["label"]) == label for one, label in zip(found, labels, strict=True)])
    assert right == pytest.approx(processes.log(folder)[-1]["class_accuracy"])


def code_sizes(folder, out):
    """PCA and the mean image stand beside the autoencoders, with their errors on the held-out images."""
    found = read(folder, "code_sizes.json")
    train, heldout = (
        np.rint(255 * np.stack([digits[i]["image"] for i in range(len(digits))])).astype(np.float64) / 255
        for digits in (Digits(heldout=False), Digits(heldout=True))
    )
    centred, mean = heldout - train.mean(0), train.mean(0)
    assert found["mean image"] == pytest.approx(np.square(centred).mean(), rel=1e-4)
    directions = np.linalg.svd(train - mean, full_matrices=False)[2]
    for size in (2, 3):
        reconstructed = np.clip(centred @ directions[:size].T @ directions[:size] + mean, 0, 1)
        assert found["PCA"][str(size)] == pytest.approx(np.square(reconstructed - heldout).mean(), rel=1e-3)
    last = processes.log(folder)[-1]
    assert found["autoencoder"] == {str(size): last[f"code_{size}_error"] for size in (2, 3)}
    pixels, _ = heldout_digits()
    images = ssl_jax.load(str(folder)).reconstruct(pixels)
    assert error_of(images, pixels) == pytest.approx(last["code_3_error"], rel=1e-4)
    rows = read(folder, "probes.json")
    assert [*rows] == ["code of 2", "PCA of 2", "code of 3", "PCA of 3", "random init", "raw pixels"]
    assert_drawn(
        folder, "error_by_code_size", "probe_by_code_size", "reconstructions", "map", "map_pca", "error"
    )


def noises(folder, out):
    """Each autoencoder on each noise, beside filters."""
    left = read(folder, "reconstruction_errors.json")
    assert [*left] == ["gaussian", "salt_and_pepper"]
    assert [*left["gaussian"]] == ["nothing", "median", "mean", "plain", "gaussian", "salt_and_pepper"]
    # A fifth of the pixels, half of them black, half of them white: all of 0 and of 1 are as far from the digits' mean.
    assert 0.05 < left["salt_and_pepper"]["nothing"] < 0.12
    rows = read(folder, "probes.json")
    assert [*rows] == ["plain", "gaussian", "salt_and_pepper", "random init", "raw pixels"]
    assert_drawn(folder, "reconstructions", "first_layer", "probes", "error")


def variational(folder, out):
    """The bounds on the likelihood of held-out images beside a model without a network."""
    assert "of the code's 2 numbers are active" in out
    found = read(folder, "likelihood.json")
    assert found.pop("likelihood") == "bernoulli"
    plain, weighted, other = found.values()
    assert plain["nats"] < weighted["nats"]
    assert other["bits_per_dim"] < plain["bits_per_dim"]  # two steps do not make a model
    for metrics in found.values():
        assert metrics["bits_per_dim"] == pytest.approx(-metrics["nats"] / (64 * np.log(2)), rel=1e-4)
    scores = ssl_jax.load(str(folder)).score(heldout_digits()[0])
    for name, metrics in (("elbo", plain), ("importance_weighted_bound", weighted)):  # of other draws
        assert scores[name].mean() == pytest.approx(metrics["nats"], abs=4 * metrics["standard_error"])
    assert [*read(folder, "probes.json")] == ["code", "random init", "raw pixels"]
    assert_drawn(folder, "samples", "interpolations", "latent_grid", "reconstructions", "map", "probes")
    assert_drawn(folder, "elbo", "kl")


def discrete(folder, out):
    """Codes beside PCA, k-means and labels."""
    rows = read(folder, "codes.json")
    assert {name: row["bits"] for name, row in rows.items()} == {
        "real code of 2": 64,
        "PCA of 2": 64,
        "binary code of 3": 3,
        "one-hot code of 12": pytest.approx(np.log2(12)),
        "k-means of 12": pytest.approx(np.log2(12)),
    }
    assert rows["one-hot code of 12"]["error"] == processes.log(folder)[-1]["one_hot_error"]
    model, (pixels, _) = ssl_jax.load(str(folder)), heldout_digits()
    images = model.decode(model.encode(pixels))
    assert error_of(images, pixels) == pytest.approx(rows["one-hot code of 12"]["error"], rel=1e-4)
    clusters = read(folder, "clusters.json")
    assert [*clusters] == ["one-hot code", "k-means of pixels"]
    assert 0.5 < clusters["k-means of pixels"]["accuracy"] < 0.95
    assert "binary code: " in out
    probed = [*read(folder, "probes.json")]
    assert probed == ["real code", "binary code", "one-hot code", "raw pixels"]
    assert_drawn(folder, "reconstructions", "classes", "classes_by_label", "bits", "probes", "error")


def anomalies(folder, out):
    """Scores of the detectors beside other methods, for each class of anomalies."""
    assert "normal 0 1 and each anomaly" in out
    found = read(folder, "anomalies.json")
    learned = ["reconstruction", "code_distance", "both", "likelihood"]
    assert [*found] == [*learned, "PCA", "k-NN", "isolation forest", "one-class SVM"]
    for rows in found.values():
        (row,) = rows.values()
        assert [*row["by_class"]] == list("23456789")
        assert 0 <= row["false_alarms"] < 0.3
    assert found["k-NN"]["0 1"]["auroc"] > 0.95
    assert found["PCA"]["0 1"]["detected"] > 0.5
    pixels, labels = heldout_digits()
    alarms, normal = ssl_jax.load(str(folder)).score(pixels)["anomalous"], labels < 2
    row = found["likelihood"]["0 1"]
    assert [alarms[normal].mean(), alarms[~normal].mean()] == pytest.approx(
        [row["false_alarms"], row["detected"]]
    )
    assert_drawn(folder, "roc", "scores", "examples", "error")


def denoised(folder, out, hidden="[MASK]"):
    """Rows before and after, and what is right in them."""
    assert "12 held-out rows denoised by greedy decoding" in out
    metrics = read(folder, "denoising.json")
    assert len(metrics) == 4
    for shares in metrics.values():
        assert all(0 <= share <= 1 for name, share in shares.items() if name != "undone")
    assert metrics["corrupted text without its blanks"]["hidden"] == 0
    assert metrics["the 20 most frequent tokens, repeated, whatever the text"]["hidden"] > 0
    assert metrics["the 20 most frequent tokens, repeated, whatever the text"]["undone"] < 0
    assert metrics["corrupted text without its blanks"]["undone"] == 0
    assert {file.name for file in (folder / "samples").iterdir()} == {"denoised.txt", "step-0000002.txt"}
    shown = (folder / "samples" / "denoised.txt").read_text()
    assert shown.count("--- row") == 12
    assert out.count("--- row") == 5
    assert hidden in shown


def denoised_by_sentinels(folder, out):
    """As above; the vocabulary has a sentinel for each span."""
    denoised(folder, out, hidden="<0>")
    tokenizer = open_tokenizer(folder / "tokenizer.model")
    assert tokenizer.vocab_size <= 120 - t5.SpanConfig().sentinels(36)


def classified(folder, out):
    """A classifier beside baselines on the same held-out sentences, and what became of each of them."""
    found = read(folder, "classification.json")
    assert [*found["metrics"]] == ["most frequent class", "tf-idf, logistic regression", "model"]
    assert {*found["by_class"]} == {"long", "short"}
    rows = [line.split("\t", 3) for line in (folder / "predictions.tsv").read_text().splitlines()[1:]]
    right = np.mean([label == prediction for label, prediction, *_ in rows])
    last = processes.log(folder)[-1]
    assert found["metrics"]["model"]["accuracy"] == pytest.approx(right)
    assert last["class_accuracy"] == pytest.approx(right)
    assert {name: last[name] for name in ("macro_f1", "matthews")} == {
        name: found["metrics"]["model"][name] for name in ("macro_f1", "matthews")
    }
    assert sum(row["examples"] for row in found["by_class"].values()) == len(rows)
    assert (folder / "bert" / "checkpoints" / "2").exists()
    heldout = [row[3] for row in rows]
    for row, again in zip(rows, predictions_of(str(folder), heldout), strict=True):
        assert (again["label"], again["text"]) == (row[1], row[3])
        assert (
            again["probabilities"][row[1]] == again["probability"] == pytest.approx(float(row[2]), abs=1e-4)
        )
    assert_drawn(folder, "confusions", "accuracy")


def remapped(folder, out):
    """A classifier of sequences beside baselines, and the same predictions from the run folder alone."""
    found = read(folder, "classification.json")["metrics"]
    names = [name.split(" (")[0] for name in found]
    assert names == [MAJORITY, KNN, NGRAM_REGRESSION, POSITION_REGRESSION, "model"]
    assert found[next(name for name in found if POSITION_REGRESSION in name)]["accuracy"] == 1
    heldout = {line["split"]: line for line in processes.log(folder)[2:]}
    assert [*heldout] == ["validation", "heldout"]
    assert heldout["heldout"]["macro_f1"] == found["model"]["macro_f1"]
    rows = [line.split("\t") for line in (folder / "predictions.tsv").read_text().splitlines()[1:]]
    for row, again in zip(rows, predictions_of(str(folder), [row[3] for row in rows]), strict=True):
        assert (again["label"], again["text"]) == (row[1], row[3])
        assert again["probability"] == pytest.approx(float(row[2]), abs=1e-4)
    assert_drawn(folder, "confusions", "f1")


def glue_task(folder, out):
    """A task of GLUE with its own metrics beside baselines, and its test set as it is submitted."""
    found = read(folder, "glue.json")["validation"]
    assert [*found] == ["most frequent class", "tf-idf, logistic regression", "model"]
    last = processes.log(folder)[-1]
    assert last["split"] == "validation"
    assert found["model"] == pytest.approx({"f1": last["f1"], "accuracy": last["class_accuracy"]})
    source = json.loads((folder / "config.json").read_text())["config"]["data"]["source"]
    texts = [f"{example.text}\t{example.second}" for example in read_glue(source, "mrpc", "test")]
    labels = [one["label"] for one in predictions_of(str(folder), texts)]
    written = [f"{i}\t{int(label == 'equivalent')}" for i, label in enumerate(labels)]
    (file,) = (folder / "submission").iterdir()
    assert (file.name, file.read_text().splitlines()) == ("MRPC.tsv", ["index\tprediction", *written])
    assert_drawn(folder, "loss", "accuracy", "f1")


def tagged(folder, out):
    """A tagger beside the most frequent tag of each word, and the tag of each word of the held-out sentences."""
    found = read(folder, "tagging.json")
    assert [*found["metrics"]] == ["most frequent tag of a word", "model"]
    assert found["metrics"]["most frequent tag of a word"]["entity_f1"] == 1  # it depends on the word alone
    last = processes.log(folder)[-1]
    blocks = (folder / "predictions.tsv").read_text().strip().split("\n\n")
    sentences = [[line.split("\t") for line in block.splitlines()] for block in blocks]
    labels, predictions = ([[word[i] for word in each] for each in sentences] for i in (1, 2))
    total, _ = entity_scores(labels, predictions)
    for model in (found["metrics"]["model"], last):
        assert model["entity_f1"] == pytest.approx(total.f1)
    found = predictions_of(str(folder), [" ".join(word for word, *_ in each) for each in sentences])
    assert [one["tags"] for one in found] == predictions
    words = [word for each in sentences for word in each]
    assert last["tag_accuracy"] == pytest.approx(np.mean([label == guess for _, label, guess in words]))
    assert_drawn(folder, "confusions", "accuracy")


def answered(folder, out):
    """A question answerer beside baselines, half of whose questions have no answer."""
    found = read(folder, "answers.json")
    assert [*found] == ["no answer", "most frequent answer in the text", "model"]
    assert found["no answer"]["unanswerable_accuracy"] == 1
    assert read(folder, "baselines.json")["exact_match"]["no answer"] == found["no answer"]["exact_match"]
    assert found["no answer"]["exact_match"] == 0.5
    last = processes.log(folder)[-1]
    assert {name: last[name] for name in found["model"]} == pytest.approx(found["model"])
    predictions = read(folder, "predictions.json")
    assert {name.split("-")[1] for name in predictions} == {"a", "b"}
    source = json.loads((folder / "config.json").read_text())["config"]["data"]["source"]
    asked = {question.id: question for question in read_squad(source)}
    texts = [f"{asked[name].question}\t{asked[name].context}" for name in predictions]
    for name, one in zip(predictions, predictions_of(str(folder), texts), strict=True):
        assert one["answer"] == predictions[name]
        assert one["answer"] == "" or asked[name].context[one["start"] :].startswith(one["answer"])
    assert_drawn(folder, "loss", "match", "f1")


def voices(folder, out, target=None):
    """Conversions beside what they are compared with, and a recording that is converted from the run folder alone."""
    found = read(folder, "voices.json")
    rows = found["conversions"]["all pairs"]
    assert [*rows] == [
        "target",
        "unconverted",
        "mean and variance shifted",
        "converted",
        "target from its own codes",
    ]
    for row in rows.values():
        assert row.keys() == {"log_mel_error", "cepstral_distortion", "target_voice", "source_voice"}
        assert row["target_voice"] + row["source_voice"] <= 1
    assert (rows["target"]["log_mel_error"], rows["target"]["cepstral_distortion"]) == (0, 0)
    assert 0 < rows["unconverted"]["cepstral_distortion"] < 30
    assert "content code" in found["speaker_probes"]
    samples = sorted(file.name for file in (folder / "samples").iterdir())
    assert samples[0] == "step-0000002-1-converted.wav"
    assert samples[-1] == "step-0000002.png"
    assert_drawn(folder, "voices")
    source = json.loads((folder / "config.json").read_text())["config"]["data"]["source"]
    output = io.StringIO()
    result, recording = folder / "converted.wav", f"{source}/0_a_0.wav"
    other = target or f"{source}/1_b_15.wav"
    assert convert.main([str(folder), recording, other, str(result)], output) == 0
    assert "0_a_0.wav: resampled from 16000 Hz to 8000 Hz" in output.getvalue()
    rate, wave = wavfile.read(result)
    _, original = wavfile.read(recording)
    assert rate == 8_000
    assert 0 <= len(original) / 2 - len(wave) < 80  # a last frame that is not whole
    assert wave.any()
    wavfile.write(folder / "short.wav", 8_000, np.full(100, 1000, np.int16))
    with pytest.raises(UserError, match=r"short\.wav.*cannot be converted"):
        convert.main([str(folder), str(folder / "short.wav"), other, str(result)], output)
    if target:
        with pytest.raises(UserError, match=r"'nobody': .*expected one of a, b, c"):
            convert.main([str(folder), recording, "nobody", str(result)], output)


def in_context(folder, out):
    """Accuracies of both families by the number of examples."""
    for curve in (
        "substitution, new queries (chance ",
        "substitution, queries shown before (chance ",
        "dialect, new queries (chance ",
        "dialect, queries shown before (chance ",
    ):
        assert curve in out
    found = read(folder, "in_context.json")
    assert found.keys() == {"test", "train"}
    for points in found.values():
        of_shots = [sum(p["queries"] for p in points if p["shots"] == shots) for shots in range(5)]
        assert of_shots == [90] * 5
        assert all(p["ideal"] == 1 for p in points if p["shown"])
    assert min(matplotlib.image.imread(folder / "plots" / "in_context.png").shape[:2]) > 300
    evaluation = processes.log(folder)[-1]
    assert evaluation["split"] == "validation"
    assert {"dialect_new_1_shot_accuracy", "substitution_shown_4_shot_accuracy"} <= evaluation.keys()


def spoken(folder, out):
    """Probes of layers beside log-mel, and again by the command that probes any run."""
    rows = read(folder, "probes.json")
    assert [*rows] == ["log-mel", "log-mel, per utterance", "layer 1", "layer 2", "untrained"]
    assert "word: 2 classes, 16 to fit, 8 to score" in out
    assert linear_eval.main([str(folder)]) == 0
    assert [*read(folder / "linear_eval", "probes.json")] == ["step 0", "step 2", "log-mel"]
    assert_drawn(folder, "loss", "probes")


ONE_REPORT = ("barlow_twins", "dino", "moco", "simclr", "simsiam", "vicreg")
"""Experiments whose report is made by the same call as BYOL's, and is not made again."""
VIEWS = ("byol", "rotation")
REPORTS = dict.fromkeys(VIEWS, views) | {
    "adversarial_voice_conversion": functools.partial(voices, target="b"),
    "anomaly_detection": anomalies,
    "apc": spoken,
    "autoencoder": code_sizes,
    "bart": denoised,
    "denoising_autoencoder": noises,
    "discrete_autoencoder": discrete,
    "glue": glue_task,
    "gpt3_in_context": in_context,
    "image_classifier": labelled,
    "mass": denoised,
    "pair_classification": classified,
    "question_answering": answered,
    "sequence_classification": classified,
    "t5": denoised_by_sentinels,
    "token_classification": tagged,
    "token_remap": remapped,
    "vae": variational,
    "voice_conversion": voices,
}
"""What else is checked of the report, `(folder, standard output)`, where no other test does."""
