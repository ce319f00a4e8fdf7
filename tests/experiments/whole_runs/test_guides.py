"""The guides in docs/ and the tutorial of README.md run as they are written: each command and each block of Python."""

import importlib
import json
import re
import shlex
import sys
import tempfile
import textwrap
import types

import numpy as np
import pytest
from PIL import Image

import experiments
from ssl_jax.runs import listing
from tests import processes
from tests.cases import SMALL, corpus, given, length, sentences

DOCS = processes.ROOT / "docs"
ELSEWHERE = ("gcloud ", "tests/parity/run.sh ", "export ", "until ", "photos/")
"""How blocks begin that need a pod, libtpu or a shell, or are a listing of files."""
TWO_STEPS = [*length(2, 1), "--train.log_every", 1, "--train.eval_every", 2, "--train.save_every", 2]


def blocks(text):
    """The indented blocks of a document, each without its indentation."""
    found = re.findall(r"\n\n((?:    .*\n|\n(?=    ))+)", text)
    return [textwrap.dedent(block).strip() for block in found]


def commands_of(block):
    """(module, words) of each line of a block of commands."""
    lines = block.replace("\\\n", " ").splitlines()
    parsed = [shlex.split(line, comments=True) for line in lines if line.startswith("python -m ")]
    return [(words[2], words[3:]) for words in parsed]


def in_small(module, words):
    """A command with the network and the data of the tests; what the guide says of the data remains."""
    package, _, name = module.partition(".")
    if package != "experiments":
        return words
    words = list(words)
    preset = [words.pop(0)] if words and not words[0].startswith("-") else []
    if "--init_from" in words:  # the encoder is that of the run
        small = [*given(length=48), *given("train", batch_size=8)]
    else:
        small = SMALL["barlow_twins" if name == "mine_views" else name](here())
    return [*preset, *small, *words, *TWO_STEPS]


def here():
    """A folder for the files that the small settings name."""
    folder = processes.Path("small")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def guide(command, tmp_path, monkeypatch):
    """Runs all of a guide in an empty folder; returns the names that its Python has defined."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))

    def guide(name):
        namespace = {}
        for block in blocks((DOCS / name).read_text()):
            if commands := commands_of(block):
                for module, words in commands:
                    code, out, error = command(module, *in_small(module, words))
                    assert code == 0, (module, words, out, error)
            elif not block.startswith(ELSEWHERE):
                exec(compile(block, name, "exec"), namespace)
        return namespace

    return guide


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


@pytest.fixture
def mine_views(tmp_path, monkeypatch):
    """The tutorial of README.md, copied block by block into a file of the experiments."""
    readme = (processes.ROOT / "README.md").read_text()
    section = readme[readme.index("### A new loss on pairs of views") : readme.index("Then train it")]
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "mine_views.py").write_text("\n\n\n".join(blocks(section)) + "\n")
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(folder)])
    importlib.import_module("experiments.mine_views")
    installed = listing._installed()
    monkeypatch.setattr(listing, "_installed", lambda: [*installed, "mine_views"])
    yield
    sys.modules.pop("experiments.mine_views", None)


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
