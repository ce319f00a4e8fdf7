"""Folders of weights that are damaged, or made to do harm: refused in one paragraph, or read as they were saved."""

import itertools
import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.hub import safetensors
from ssl_jax.hub.bart import load_bart, save_bart
from ssl_jax.hub.bert import load_bert, save_bert
from ssl_jax.hub.gpt2 import load_gpt2, save_gpt2
from ssl_jax.hub.t5 import load_t5, save_t5
from ssl_jax.models.bert import BertConfig
from ssl_jax.models.encoder_decoder import T5_SIZES, EncoderDecoder, EncoderDecoderConfig
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config
from ssl_jax.models.heads import SequenceClassifier
from tests.hub.folders import assert_same_model, random_params, rewrite, tensors_of

SHAPE = {"vocab_size": 12, "layers": 2, "width": 4, "heads": 2, "mlp_width": 6}
ONE = jnp.zeros((1, 1), jnp.int32)
BART = EncoderDecoderConfig(**SHAPE, positions=5, decoder_layers=1)
T5 = EncoderDecoderConfig(
    **{name: getattr(T5_SIZES["base"], name) for name in T5_SIZES["base"].__dataclass_fields__}
    | SHAPE
    | {"decoder_layers": 1, "relative_buckets": 4}
)
FAMILIES: dict[str, tuple[Callable, Callable, Any, Any, int]] = {
    "gpt2": (save_gpt2, load_gpt2, Gpt2Config(**SHAPE, positions=5), Gpt2, 1),
    "bert": (save_bert, load_bert, BertConfig(**SHAPE, positions=5), lambda c: SequenceClassifier(c, 3), 3),
    "bart": (save_bart, load_bart, BART, EncoderDecoder, 3),
    "t5": (save_t5, load_t5, T5, EncoderDecoder, 3),
}


class Saved:
    """A small model of a family in a folder, and how it is loaded."""

    def __init__(self, family: str, folder: Path) -> None:
        save, self.load, config, model, inputs = FAMILIES[family]
        self.folder = folder / family
        save(self.folder, config, random_params(model(config), *[ONE] * inputs))
        self.model = self.load(self.folder)

    def copy(self, to: Path) -> Path:
        """A copy to damage."""
        shutil.rmtree(to, ignore_errors=True)
        return Path(shutil.copytree(self.folder, to))


@pytest.fixture(scope="module", params=FAMILIES)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    return Saved(request.param, tmp_path_factory.mktemp("saved"))


def outcome(load: Callable, folder: Path) -> tuple[Any, str]:
    """(the model, nothing), or (None, what is said of a folder that is refused)."""
    try:
        return load(folder), ""
    except UserError as error:
        return None, str(error)


def refusal(load: Callable, folder: Path) -> str:
    """What is said of a folder that is refused; empty if it is not."""
    return outcome(load, folder)[1]


ODD = ("one", "", None, True, [], {}, -1, 0, 3, 1.5, 10**9, 10**30, float("nan"), float("inf"), [[]], "gelu")
"""Values for settings. 3 heads do not divide a width of 4."""
TRIES = 15
"""Of each family, a choice by a seed."""


def test_settings_of_any_type_and_size_are_refused_by_name_or_change_nothing(
    saved: Saved, tmp_path: Path
) -> None:
    folder = saved.copy(tmp_path / "odd")
    settings = json.loads((folder / "config.json").read_text())
    for name, value in random.Random(0).sample(list(itertools.product(settings, ODD)), TRIES):
        (folder / "config.json").write_text(json.dumps(settings | {name: value}))
        found, message = outcome(saved.load, folder)
        if found is None:
            assert str(folder) in message
            assert "\n" not in message
        else:
            assert_same_model((None, found[1]), (None, saved.model[1]))
    for content in ("[]", "3", "null", "", "{", "\udcff", "[" * 100_000):
        (folder / "config.json").write_text(content, errors="surrogateescape")
        assert str(folder / "config.json") in refusal(saved.load, folder)


@pytest.mark.parametrize(
    ("family", "setting", "value", "message"),
    [
        ("gpt2", "n_layer", "one", "n_layer 'one': expected an integer from 1 to"),
        ("gpt2", "n_layer", 0, "n_layer 0: expected an integer from 1 to"),
        ("gpt2", "n_head", 0, "n_head 0: expected an integer from 1 to"),
        ("gpt2", "n_inner", "6", "n_inner '6': expected an integer from 1 to"),
        ("bert", "layer_norm_eps", float("nan"), "layer_norm_eps nan: expected a number"),
        ("bert", "hidden_act", ["gelu"], r"hidden_act is \['gelu'\], expected one of"),
        ("bert", "vocab_size", 10**12, "vocab_size 1000000000000: expected an integer from 1 to"),
        ("bart", "dropout", -0.5, "dropout -0.5: expected a number"),
        ("bart", "model_type", ["bart"], r"model_type is \['bart'\], expected one of bart, mbart"),
        ("t5", "d_kv", None, "d_kv None: expected an integer"),
        ("t5", "tie_word_embeddings", "yes", "tied_head 'yes': expected True or False"),
    ],
)
def test_a_setting_is_named_as_in_the_file(
    family: str, setting: str, value: object, message: str, tmp_path: Path
) -> None:
    saved = Saved(family, tmp_path)
    content = json.loads((saved.folder / "config.json").read_text()) | {setting: value}
    (saved.folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        saved.load(saved.folder)


def test_damaged_bytes_are_refused_or_change_the_numbers_alone(saved: Saved, tmp_path: Path) -> None:
    """A safetensors file has no checksum, so that a changed number can't be seen; NaN and infinity can."""
    folder, rng = saved.copy(tmp_path / "damaged"), random.Random(0)
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    header = 8 + struct.unpack("<Q", content[:8])[0]
    for attempt in range(2 * TRIES):
        damaged = bytearray(content)
        if attempt % 3 == 0:
            del damaged[rng.randrange(len(damaged)) :]
        else:
            for _ in range(rng.choice((1, 1, 3))):
                damaged[rng.randrange(header if attempt % 3 == 1 else len(damaged))] = rng.randrange(256)
        weights.write_bytes(bytes(damaged))
        found, message = outcome(saved.load, folder)
        if found is None:
            assert str(folder) in message
            assert "\n" not in message
        else:
            assert found[0] == saved.model[0]
            assert len(damaged) == len(content)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_tensors_that_are_not_finite_are_named(value: float, dtype: type, tmp_path: Path) -> None:
    saved = Saved("gpt2", tmp_path)
    tensors = {name: tensor.astype(dtype) for name, tensor in tensors_of(saved.folder).items()}
    rewrite(saved.folder, tensors)
    assert refusal(saved.load, saved.folder) == ""
    tensors["transformer.ln_f.bias"][2] = value
    rewrite(saved.folder, tensors)
    assert "tensors hold NaN or infinity: transformer.ln_f.bias. " in refusal(saved.load, saved.folder)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.bool_, np.float64])
def test_parameters_of_other_types_are_named(dtype: type, tmp_path: Path) -> None:
    saved = Saved("gpt2", tmp_path)
    tensors = tensors_of(saved.folder)
    tensors["transformer.ln_f.bias"] = np.ones(4, dtype)
    rewrite(saved.folder, tensors)
    expected = f"type: transformer.ln_f.bias is {np.dtype(dtype).name}, not one of float32, float16, bfloat16"
    assert expected in refusal(saved.load, saved.folder)


def write_header(folder: Path, header: dict[str, Any], size: int) -> None:
    encoded = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        file.truncate(8 + len(encoded) + size)  # the numbers take no room on the disk


def test_types_that_numpy_does_not_have_are_named(tmp_path: Path) -> None:
    saved = Saved("gpt2", tmp_path)
    write_header(saved.folder, {"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, 4)
    assert "types that are not read: a is F8_E4M3. Expected F32, F16" in refusal(saved.load, saved.folder)


def test_more_than_this_machine_has_is_refused_before_it_is_read(tmp_path: Path, monkeypatch) -> None:
    saved, size = Saved("gpt2", tmp_path), 2**20
    write_header(
        saved.folder, {"a": {"dtype": "F16", "shape": [size], "data_offsets": [0, 2 * size]}}, 2 * size
    )
    monkeypatch.setattr(safetensors, "physical_memory", lambda: 4 * size - 1)
    assert "take 0.0 GiB as float32, and this machine has" in refusal(saved.load, saved.folder)
    monkeypatch.setattr(safetensors, "physical_memory", lambda: 4 * size)
    assert "its tensors do not match its config.json. missing: " in refusal(saved.load, saved.folder)


@pytest.mark.parametrize("shape", [(), (0, 4)])
def test_a_classifier_without_classes_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    saved = Saved("bert", tmp_path)
    rewrite(saved.folder, tensors_of(saved.folder) | {"classifier.weight": np.zeros(shape, np.float32)})
    assert "classifier.weight" in refusal(saved.load, saved.folder)


def test_names_of_many_tensors_are_shortened_and_kept_on_one_line(tmp_path: Path) -> None:
    saved = Saved("gpt2", tmp_path)
    more = {f"transformer.a\n{i}": np.zeros(1, np.float32) for i in range(50)}
    rewrite(saved.folder, tensors_of(saved.folder) | more)
    message = refusal(saved.load, saved.folder)
    assert "'not used: transformer.a\\n0'" in message
    assert "; and 30 more. " in message
    assert "\n" not in message


def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    saved = Saved("gpt2", tmp_path)
    (saved.folder / "model.safetensors").unlink()
    (saved.folder / "model.safetensors").mkdir()
    assert "model.safetensors cannot be read (" in refusal(saved.load, saved.folder)


def test_a_model_is_written_beside_and_renamed(tmp_path: Path, monkeypatch) -> None:
    """What was there stays if the disk is full."""
    saved = Saved("gpt2", tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(safetensors.epath.Path("x")), "write_bytes", full)
    with pytest.raises(UserError, match=r"model\.safetensors cannot be written \(No space left on device\)"):
        save_gpt2(saved.folder, *saved.model)
    monkeypatch.undo()
    assert_same_model(saved.load(saved.folder), saved.model)
    assert {path.name for path in saved.folder.iterdir()} == {"model.safetensors", "config.json"}
