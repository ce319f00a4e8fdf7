"""What SECURITY.md says: which commands there are, and what opening the run folder of a stranger reads."""

import dataclasses
import io
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from etils import epath

from experiments import gpt2
from ssl_jax import __main__ as commands
from ssl_jax import generate
from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.errors import UserError
from ssl_jax.models.gpt2 import Gpt2Config
from ssl_jax.runs.opening import open_run
from ssl_jax.runs.reference import RunReference
from tests.test_generate import SENTENCES, SIZES, run_folder

ROOT = Path(__file__).parents[1]
OWN = (ROOT, Path(sys.prefix), Path(sys.base_prefix))
"""The installation: this project and the packages of Python."""

opened: list[str] | None = None
"""Files and folders that Python has opened; None while nobody asks. A hook for audits can't be taken away again."""


def _note(event: str, arguments: tuple) -> None:
    if opened is not None and event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str):
        opened.append(arguments[0])


@pytest.fixture
def reads() -> Iterator[list[str]]:
    """What is opened in the test."""
    global opened
    sys.addaudithook(_note)
    opened = []
    yield opened
    opened = None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of experiments.gpt2, whose configuration names files outside."""
    tokenizer = train_sentencepiece(SENTENCES, 60)
    model = Gpt2Config(vocab_size=tokenizer.vocab_size, **SIZES)
    config = dataclasses.replace(gpt2.PRESETS["tiny"], model=model, length=48)
    folder = tmp_path_factory.mktemp("stranger") / "run"
    folder.mkdir()
    run_folder(epath.Path(folder), gpt2, tokenizer, config, (10,))
    settings = json.loads((folder / "config.json").read_text())
    outside = folder.parent / "secret"
    for name in ("txt", "json", "model"):
        outside.with_suffix(f".{name}").write_text("a secret")
    settings["config"]["data"] |= {"source": f"{outside}.txt", "tokenizer": f"{outside}.json"}
    (folder / "config.json").write_text(json.dumps(settings | {"init_from": str(outside)}))
    return folder


def write(folder: Path) -> str:
    out = io.StringIO()
    assert generate.main([str(folder), "--prompt", "the", "--max_new_tokens", "2"], out, io.StringIO()) == 0
    return out.getvalue()


def test_generate_reads_the_run_folder_and_the_installation_alone(run: Path, reads: list[str]) -> None:
    assert write(run).startswith("the")
    strange = {path for path in map(Path, reads) if not path.resolve().is_relative_to(run)}
    strange = {path for path in strange if not any(path.resolve().is_relative_to(own) for own in OWN)}
    assert not [path for path in strange if path.is_relative_to(run.parent)]
    assert str(run / "config.json") in reads


def test_a_run_without_its_tokenizer_is_refused_and_none_is_read_elsewhere(
    run: Path, reads: list[str], tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "tokenizer.model").unlink()
    with pytest.raises(UserError, match=r"run: has no tokenizer; expected one of the files tokenizer\.model"):
        open_run(RunReference(epath.Path(tmp_path / "run")))
    assert not [path for path in reads if "secret" in path]


def test_every_command_is_in_the_table() -> None:
    rows = re.findall(
        r"^\| `(?:ssl_jax|experiments)\.(\w+)", (ROOT / "SECURITY.md").read_text(), flags=re.MULTILINE
    )
    assert {*rows} == {*commands.COMMANDS, "NAME"}
