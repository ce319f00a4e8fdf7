"""The guides in docs/ and README.md run as they are written: each command and each block of Python.

Commands that need a pod, data or weights of others are read in `test_documented_commands`.
"""

import importlib
import json
import os
import re
import shutil
import sys
import tempfile
import types

import numpy as np
import pytest
from PIL import Image

import experiments
from ssl_jax.runs import listing
from ssl_jax.training import loop
from tests import processes
from tests.cases import SMALL, corpus, given, length, recordings, sentences
from tests.data.test_idx import write_mnist
from tests.documents import DOCS, blocks, commands_of

README = (processes.ROOT / "README.md").read_text()
ELSEWHERE = ("gcloud ", "tests/parity/run.sh ", "export ", "until ", "photos/", "recordings/")
"""How blocks begin that need a pod, libtpu or a shell, or are a listing of files."""
TWO_STEPS = [*length(2, 1), "--train.log_every", 1, "--train.eval_every", 2, "--train.save_every", 2]


OWN = {"mine": "minimal", "mine_views": "barlow_twins"}
"""Experiments that the reader copies, and the ones that they are like."""


def in_small(module, words):
    """A command with the network and the data of the tests; what the guide says of the data remains."""
    package, _, name = module.partition(".")
    saved = "--resume" in words or any(word.endswith("config.json") for word in words)
    if package != "experiments" or saved:
        return words
    if name == "compression":  # a study of runs that are there
        return [*words, *given(images=8)]
    words = list(words)
    preset = [words.pop(0)] if words and not words[0].startswith("-") else []
    if name == "sequence_classification":  # the encoder is that of the run
        small = [*given(length=48), *given("train", batch_size=8)]
        if "--data.source" not in words:
            small += [*given("data", source=sentences(here())), *given(labels=["long", "short"])]
    elif "--run" in words:  # the first stage is that of the run
        small = [*given("prior", layers=1, width=16, heads=2, dropout=0), *given("train", batch_size=32)]
    else:
        small = SMALL[OWN.get(name, name)](here())
    forked = ["--steps", 4] if "--with_optimizer" in words else []
    return [*preset, *small, *words, *TWO_STEPS, *forked]


def here():
    """A folder for the files that the small settings name."""
    folder = processes.Path("small")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def execute(command, tmp_path, monkeypatch):
    """Runs blocks of a document in an empty folder; returns the names that their Python has defined.

    Some words of the commands, such as steps, may be replaced. Reports of runs are left out where nothing reads them.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def execute(text, replaced=None, *, reports=True):
        if not reports:
            monkeypatch.setattr(loop.Run, "_report", lambda run: None)
        replaced, namespace, found = replaced or {}, {}, blocks(text)
        files = {match[1]: block for block in found if (match := re.match(r"# (\w+\.yaml)\n", block))}
        for name, content in files.items():
            processes.Path(name).write_text(content)
        for block in found:
            if commands := commands_of(block):
                for module, words in commands:
                    words = [os.path.expanduser(replaced.get(word, word)) for word in words]
                    code, out, error = command(module, *in_small(module, words))
                    assert code == 0, (module, words, out, error)
            elif not block.startswith(ELSEWHERE) and block not in files.values():
                exec(compile(block, "document", "exec"), namespace)
        return namespace

    return execute


@pytest.fixture
def guide(execute):
    """Runs all of a guide."""
    return lambda name, *how, **reports: execute((DOCS / name).read_text(), *how, **reports)


def draw(folder, size):
    """Twelve noisy pictures in each of two classes."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 256, (size, size, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:03}.png")


def test_your_text(guide, tmp_path):
    (tmp_path / "corpus.txt").write_text(corpus(tmp_path).read_text())
    rows = sentences(tmp_path).read_text().replace("label\ttext", "stars\treview")
    (tmp_path / "reviews.tsv").write_text(rows)
    assert guide("your_text.md")["similarity"].shape == (2, 2)
    assert (tmp_path / "text.html").stat().st_size > 50_000


def test_your_images(guide, tmp_path):
    draw(tmp_path / "photos", 40)
    found = guide("your_images.md")
    assert len(found["nearest"]) == 5
    assert found["nearest"][0] == found["names"][0]
    assert (tmp_path / "exported" / "model.safetensors").exists()


def test_your_speech(guide, tmp_path):
    recordings(tmp_path)
    found = guide(
        "your_speech.md",
        {
            "recordings/0_jackson_0.wav": "recordings/0_a_0.wav",
            "recordings/7_theo_14.wav": "recordings/1_b_14.wav",
        },
    )
    assert len(found["nearest"]) == 5
    assert found["nearest"][0] == found["names"][0]
    assert (tmp_path / "converted.wav").exists()


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Puts a file of the reader's into the folder of experiments."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(folder)])
    installed = listing._installed()

    def own(name, text):
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(listing, "_installed", lambda: [*installed, name])
        importlib.import_module(f"experiments.{name}")

    yield own
    for name in OWN:
        sys.modules.pop(f"experiments.{name}", None)


@pytest.fixture
def mine_views(own):
    """The tutorial of README.md, copied block by block into a file of the experiments."""
    section = README[README.index("### A new loss on pairs of views") : README.index("Then train it")]
    own("mine_views", "\n\n\n".join(blocks(section)) + "\n")


def test_a_new_loss(guide, mine_views, tmp_path):
    found = guide("a_new_loss.md")
    assert 0 <= found["equal"] < found["other"]
    assert (tmp_path / "runs" / "mine" / "plots" / "neighbours.png").exists()


def test_on_a_tpu_pod(guide, tmp_path):
    guide("on_a_tpu_pod.md")
    assert (tmp_path / "trial.html").exists()


def test_reading_a_report(guide, command, tmp_path, monkeypatch):
    for name in ("mine", "other"):
        assert (
            command("minimal", *TWO_STEPS[:2], *TWO_STEPS[4:], "--workdir", tmp_path / "runs" / name)[0] == 0
        )
    assert len(guide("reading_a_report.md")["heldout"]) == 1
    assert (tmp_path / "runs" / "mine" / "replay" / "loss.pdf").exists()


def test_from_python(guide):
    found = guide("from_python.md")
    assert [step for step, _ in found["curve"].points] == [100, 200]
    assert found["last"]["step"] == 300
    assert found["found"].keys() == {0, 1}


@pytest.fixture
def trained(command):
    """Trains a small run that a guide starts from, without its report."""

    def trained(name, folder, *words):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop.Run, "_report", lambda run: None)
            code, out, error = command(name, *words, *TWO_STEPS, "--workdir", folder)
        assert code == 0, (name, out, error)

    return trained


def last_step(folder):
    return processes.last_step(processes.Path(folder))


def test_sharing_and_forking(guide, trained, tmp_path):
    home, shared = tmp_path / "home", tmp_path / "shared"
    home.mkdir()
    trained("bert", "runs/bert-tiny", *SMALL["bert"](here()))
    shutil.copytree("runs/bert-tiny", shared / "bert")
    trained("gpt2", shared / "gpt2", *SMALL["gpt2"](here()))
    draw(tmp_path / "images", 8)
    small = [*SMALL["denoising_autoencoder"](here()), *given("data", source="images")]
    trained("denoising_autoencoder", shared / "images", *small)
    shutil.copy(here() / "corpus.txt", home)
    shutil.copytree("images", "photos")
    shutil.move("images", home)
    own = {f"/shared/{name}": str(shared / name) for name in ("bert", "gpt2", "images")}
    others = {"6000": "4", "runs/bert-tiny@2000": "runs/bert-tiny@2", **own}
    guide("sharing_and_forking.md", others, reports=False)
    for run, steps in (("bert-tiny", 4), ("mine", 2), ("higher-rate", 4), ("again", 4), ("bert-longer", 2)):
        assert last_step(f"runs/{run}") == steps
    assert processes.log(processes.Path("runs/higher-rate"))[0]["step"] == 2
    settings = json.loads(processes.Path("runs/bert-longer/config.json").read_text())
    assert settings["config"]["schedule"]["learning_rate"] == 1e-3
    assert processes.Path("plots/loss.png").exists()
    assert processes.Path("probes").is_dir()


def section(heading):
    """A section of README.md, of any depth."""
    depth = heading.partition(" ")[0]
    start = README.index(f"\n{heading}\n")
    return README[start : README.index(f"\n{depth} ", start + 1)]


def test_readme_a_new_loss(execute, own):
    own("mine", (processes.ROOT / "experiments" / "minimal.py").read_text())
    execute(
        README[README.index("run it:\n\n    cp") : README.index("### A new loss on pairs of views")],
        reports=False,
    )
    assert last_step("runs/mine-digits") == 2


def test_readme_fine_tuning(execute, trained, command, tmp_path):
    trained("bert", "runs/bert", *SMALL["bert"](here()))
    assert command("ssl_jax.export", "runs/bert", "BERT_FOLDER")[0] == 0
    rows = [line.split("\t")[1] for line in sentences(here()).read_text().splitlines()[1:]]
    stars = [f"{len(row) % 5 + 1}\t{row}" for row in rows]
    (tmp_path / "reviews.tsv").write_text("\n".join(["stars\treview", *stars, ""]))
    (tmp_path / "new.txt").write_text("\n".join(rows[:3]) + "\n")
    before, _, _ = section("## Fine-tuning").partition("    python -m experiments.glue")  # which need GLUE
    execute(before, {"128": "48"}, reports=False)
    assert len((tmp_path / "predictions.jsonl").read_text().splitlines()) == 3


def test_readme_text_generation(execute, trained, command, tmp_path):
    words = corpus(here()).read_text().replace(".", "").lower().split()[:10]
    (tmp_path / "french.tsv").write_text(
        "\n".join(["input\toutput", *(f"{w}\t{w[::-1]}" for w in words), ""])
    )
    longer = [*given("model", positions=192), *given(length=192)]
    trained("gpt2", "runs/first", *SMALL["gpt2"](here()), *longer)
    assert command("ssl_jax.export", "runs/first", "GPT2_FOLDER")[0] == 0
    execute(section("## Text generation"), reports=False)
    assert list(tmp_path.glob("GPT2_FOLDER/few_shot/*.json"))


def test_readme_images_as_codes(execute, tmp_path):
    (tmp_path / "DIR").mkdir()
    write_mnist(tmp_path / "DIR", train=64, test=16, shape=(28, 28))
    execute(section("## Images as codes"), reports=False)
    assert (tmp_path / "runs" / "compression-digits" / "rates.json").exists()


def test_the_notebook(monkeypatch, tmp_path):
    """docs/prototype_a_loss.ipynb, cell by cell, with fewer steps. It holds no outputs."""
    cells = json.loads((DOCS / "prototype_a_loss.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not [cell for cell in code if cell["outputs"] or cell["execution_count"]]
    shown = []
    display = types.SimpleNamespace(Image=lambda image: shown.append(image))
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(display=display, version_info=(9,)))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    text = "\n\n".join("".join(cell["source"]) for cell in code)
    assert text.count("STEPS, SCALE = 200, 3.0") == 1
    namespace = {}
    exec(compile(text.replace("STEPS, SCALE = 200,", "STEPS, SCALE = 20,"), "notebook", "exec"), namespace)
    assert [type(image) for image in shown] == [bytes, bytes, type(tmp_path)]
    assert shown[-1].exists()
    assert namespace["rows"].keys() == {"mine", "SimCLR", "random init", "raw pixels"}
