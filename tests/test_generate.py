"""The command that writes text: from a run folder, from imported weights, and its messages on mistakes."""

import dataclasses
import io
import json
import shutil

import jax
import numpy as np
import pytest
import tokenizers
from etils import epath

from experiments import gpt2, mass, minimal, t5
from ssl_jax import generate
from ssl_jax.data.tokenizers import open_tokenizer, train_sentencepiece
from ssl_jax.decoding.generate import generate as write_tokens
from ssl_jax.decoding.text_stream import TextStream
from ssl_jax.errors import UserError
from ssl_jax.guard import guarded
from ssl_jax.hub.bart import save_bart
from ssl_jax.hub.gpt2 import save_gpt2
from ssl_jax.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config
from ssl_jax.runs.language_models import encode_prompt, open_language_model
from ssl_jax.runs.opening import open_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.training.checkpoint_writer import CheckpointWriter
from ssl_jax.training.compiling import Program
from ssl_jax.training.sharding import MeshConfig, make_mesh
from tests.decoding.conftest import random_params

SIZES = {"layers": 1, "width": 16, "heads": 2, "mlp_width": 16, "positions": 48}
SENTENCES = ["the cat sat on the mat.", "a dog ate the cake!", "é is not e, and 日本 is far."] * 30


def run_folder(folder, experiment, tokenizer, config, steps):
    """A run as it is left by its checkpoints at these steps, without the training."""
    tokenizer.save(folder)
    settings = {"experiment": experiment.__name__, "preset": "tiny", "config": dataclasses.asdict(config)}
    (folder / "config.json").write_text(json.dumps(settings))
    state = Program(experiment.build(config), make_mesh(MeshConfig())).initial_state()
    checkpoints = CheckpointWriter(folder / "checkpoints", keep_latest=2)
    for step in steps:
        params = jax.tree.map(lambda x, step=step: np.roll(10 * x, step, -1), state.params)
        checkpoints.save(state._replace(step=state.step + step, params=params), {})
    checkpoints.close()
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Of experiments.gpt2, with a first and a later checkpoint."""
    tokenizer = train_sentencepiece(SENTENCES, 60)
    config = dataclasses.replace(
        gpt2.PRESETS["tiny"], model=Gpt2Config(vocab_size=tokenizer.vocab_size, **SIZES), length=48
    )
    folder = epath.Path(tmp_path_factory.mktemp("run"))
    return run_folder(folder, gpt2, tokenizer, config, (10, 20))


def byte_level(folder, *special):
    """A tokenizer.json of single bytes and these special tokens."""
    pieces = [*special, *sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    return len(vocabulary)


def random_weights(model, *inputs):
    return jax.tree.map(np.asarray, random_params(model, *inputs))


@pytest.fixture(scope="module")
def gpt2_weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    config = Gpt2Config(vocab_size=byte_level(folder, "<|endoftext|>"), **SIZES)
    save_gpt2(folder, config, random_weights(Gpt2(config), np.zeros((1, 2), np.int32)))
    return folder


@pytest.fixture(scope="module")
def bart_weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bart")
    vocab_size = byte_level(folder, "<pad>", "<unk>", "<s>", "</s>", "<mask>")
    config = EncoderDecoderConfig(vocab_size=vocab_size, decoder_layers=1, **SIZES)
    token = np.zeros((1, 2), np.int32)
    save_bart(folder, config, random_weights(EncoderDecoder(config), token, token, token))
    return folder


def command(*words, lines=""):
    """What the command prints."""
    out = io.StringIO()
    assert generate.main([str(word) for word in words], out, io.StringIO(lines)) == 0
    return out.getvalue()


def test_bytes_and_a_text_longer_than_the_context(tmp_path):
    """A run whose tokens are bytes; the window slides beyond 48 positions, and the text is that of whole passes."""
    tokenizer = open_tokenizer("bytes")
    config = dataclasses.replace(
        gpt2.PRESETS["tiny"], model=Gpt2Config(vocab_size=tokenizer.vocab_size, **SIZES), length=48
    )
    folder = run_folder(epath.Path(tmp_path), gpt2, tokenizer, config, (10,))
    text = command(folder, "--prompt", "a\n b", "--max_new_tokens", 60, "--temperature", 0)
    model = open_language_model(str(folder))
    params = open_run(RunReference(folder)).restore()["params"]
    network = Gpt2(config.model)

    @jax.jit
    def logits(window, last):
        hidden, _ = network.apply({"params": params}, window)
        return network.apply({"params": params}, hidden[0, last], method="logits")

    ids = [tokenizer.special.cls, *tokenizer.encode("a\n b")]
    for _ in range(60):
        window = ids[-48:]
        padded = np.array([window + [0] * (48 - len(window))], np.int32)
        ids.append(int(logits(padded, len(window) - 1)[: tokenizer.vocab_size].argmax()))
        if ids[-1] == model.end:
            break
    assert len(ids) > 48 + 8, "it ended within its context"
    assert text == "a\n b" + TextStream(tokenizer, "a\n b")(ids[5:], last=True) + "\n"


def test_a_run_continues_its_prompt(run):
    arguments = ("--prompt", "the cat", "--max_new_tokens", 12, "--temperature", 0)
    text = command(run, *arguments)
    model = open_language_model(str(run))
    prompt = encode_prompt(model, "the cat")
    assert prompt[0] == model.tokenizer.special.cls
    written = write_tokens(
        model.decoder, model.params, [prompt], [len(prompt)], max_new_tokens=12, end=model.end
    )
    ids = [int(i) for i in written.tokens[0, : written.lengths[0]]]
    assert text == model.tokenizer.decode([*prompt[1:], *ids]) + "\n"
    assert len(ids) > 3, "a text that ends at once would show nothing"
    assert command(f"{run}@20", *arguments) == text
    assert command(f"{run}@10", *arguments) != text


def test_samples_follow_the_seed_and_have_headings(run):
    arguments = (run, "--prompt", "a dog", "--samples", 3, "--max_new_tokens", 10)
    text = command(*arguments)
    assert text == command(*arguments)
    assert text != command(*arguments, "--seed", 1)
    parts = text.split("--- sample ")[1:]
    assert [part.split("\n")[0] for part in parts] == ["1", "2", "3"]
    assert all(part.split("\n", 1)[1].startswith("a dog") for part in parts)
    assert len({part.split("\n", 1)[1] for part in parts}) == 3


def test_prompts_come_from_standard_input_and_an_empty_one_begins_a_text(run):
    text = command(run, "--max_new_tokens", 4, "--temperature", 0, lines="the cat\na\n")
    assert text.startswith("--- prompt 1\nthe cat")
    assert "\n--- prompt 2\na" in text
    free = command(run, "--max_new_tokens", 4, "--temperature", 0)
    assert free == command(run, "--max_new_tokens", 4, "--temperature", 0, "--prompt", "")
    assert free.strip()


def test_a_single_text_is_printed_while_it_is_written(gpt2_weights):
    class Terminal(io.StringIO):
        def __init__(self):
            super().__init__()
            self.seen = []

        def flush(self):
            self.seen.append(self.getvalue())

    arguments = [str(gpt2_weights), "--prompt", "ab", "--max_new_tokens", "9", "--seed", "4"]
    terminal = Terminal()
    assert generate.main(arguments, terminal, io.StringIO()) == 0
    assert len(terminal.seen) >= 8
    assert terminal.seen == sorted(terminal.seen, key=len)
    assert terminal.getvalue().startswith("ab")


def test_bart_denoises_with_beams_and_reads_masks(bart_weights):
    model = open_language_model(str(bart_weights))
    special = model.tokenizer.special
    before, after = map(model.tokenizer.encode, ("a ", "c"))
    assert encode_prompt(model, "a [MASK]c") == [special.cls, *before, special.mask, *after, special.sep]
    arguments = (bart_weights, "--prompt", "a [MASK] c", "--max_new_tokens", 6)
    text = command(*arguments, "--beams", 3)
    assert text == command(*arguments, "--beams", 3)
    assert text != command(*arguments, "--seed", 2)


@pytest.mark.parametrize("text", ["é 日本 = 🎉!", "plain"])
def test_characters_that_span_tokens_are_shown_when_whole(gpt2_weights, text):
    tokenizer = open_tokenizer(gpt2_weights / "tokenizer.json")
    show = TextStream(tokenizer, "before")
    pieces = [show([token]) for token in tokenizer.encode(text)]
    assert "".join(pieces) == text
    assert len(pieces) == len(text.encode())
    assert show(tokenizer.encode("日")[:2], last=True) == "�"


def test_spaces_of_sentencepiece(run):
    tokenizer = open_tokenizer(run / "tokenizer.model")
    ids = tokenizer.encode("the cat sat")
    for before, shown in (("", "the cat sat"), ("so ", "the cat sat"), ("so", " the cat sat")):
        show = TextStream(tokenizer, before)
        assert "".join(show([token]) for token in ids) == shown


LONG = "cat " * 60


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        ("run", ["--prompt", LONG], "is longer than the model's context of 48 tokens"),
        (
            "run",
            ["--prompt", "a", "--max_new_tokens", "99", "--beams", "2"],
            "99 new tokens are more than the model's context of 48",
        ),
        ("run", ["--top_p", "0"], "--top_p 0.0: expected"),
        ("run", ["--top_p", "1.2"], "--top_p 1.2: expected"),
        ("run", ["--samples", "0"], "--samples 0: expected"),
        ("run", ["--beams", "3", "--samples", "2"], "beam search draws nothing"),
        ("run@7", [], "has no checkpoint of step 7; there are 10, 20."),
        ("bart", ["--prompt", " "], "the prompt is empty: this model writes what it makes of a source text"),
        ("minimal", [], "the model of this experiment does not write text"),
        ("nowhere", [], "no such folder"),
        ("empty", [], "neither a run folder"),
        ("no tokenizer", [], "has no tokenizer; expected one of the files tokenizer.model"),
        ("another tokenizer", [], "its tokenizer has 258 tokens, its model 257"),
    ],
)
def test_mistakes_are_explained(
    source, arguments, message, run, gpt2_weights, bart_weights, tmp_path, capsys
):
    folders = {"run": run, "run@7": f"{run}@7", "bart": bart_weights, "nowhere": tmp_path / "nowhere"}
    folder = folders.get(source, tmp_path)
    if source == "minimal":
        settings = {"experiment": "experiments.minimal", "preset": "digits"}
        settings["config"] = dataclasses.asdict(minimal.PRESETS["digits"])
        (tmp_path / "config.json").write_text(json.dumps(settings))
        shutil.copytree(run / "checkpoints", tmp_path / "checkpoints")
    if source.endswith("tokenizer"):
        for name in ("config.json", "model.safetensors"):
            (tmp_path / name).symlink_to(gpt2_weights / name)
    if source == "another tokenizer":
        byte_level(tmp_path, "<|endoftext|>", "one more")
    words = [str(folder), *arguments]
    assert guarded(lambda: generate.main(words, io.StringIO(), io.StringIO())) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("start", ["2", True, -1, 10**9, [2], 1.0])
def test_a_start_that_is_no_token_is_refused(start, bart_weights, tmp_path):
    folder = shutil.copytree(bart_weights, tmp_path / "bart")
    settings = json.loads((folder / "config.json").read_text()) | {"decoder_start_token_id": start}
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(
        UserError, match=r"bart/config\.json: decoder_start_token_id is .*; expected the id of a tok"
    ):
        open_language_model(str(folder))


def denoiser(folder, experiment, sentinels):
    """A run of an encoder-decoder, opened, and its tokenizer."""
    tokenizer, tiny = train_sentencepiece(SENTENCES, 60), experiment.PRESETS["tiny"]
    vocab_size = tokenizer.vocab_size + sentinels
    model = dataclasses.replace(tiny.model, vocab_size=vocab_size, decoder_layers=1, **SIZES)
    run_folder(folder, experiment, tokenizer, dataclasses.replace(tiny, model=model, length=48), (0,))
    return open_language_model(str(folder)), tokenizer


def test_gaps_of_t5_are_sentinels_that_the_tokenizer_does_not_know(tmp_path):
    opened, tokenizer = denoiser(epath.Path(tmp_path), t5, sentinels=9)
    first, second = (tokenizer.vocab_size + 9 - n for n in (1, 2))
    tokens = encode_prompt(opened, "the [MASK] sat [MASK] mat")
    assert [token for token in tokens if token >= tokenizer.vocab_size] == [first, second]
    text = TextStream(tokenizer, "", opened.decoder.blanks)
    assert text([first, *tokenizer.encode("cat"), second], last=True) == "<0> cat <1>"


def test_mass_writes_a_token_for_each_mask(tmp_path):
    opened, tokenizer = denoiser(epath.Path(tmp_path), mass, sentinels=0)
    prompt = encode_prompt(opened, "the [MASK] [MASK] mat")
    assert prompt.count(tokenizer.special.mask) == 2
    written = write_tokens(
        opened.decoder,
        opened.params,
        np.array([prompt]),
        np.array([len(prompt)]),
        max_new_tokens=9,
        end=opened.end,
    )
    assert written.lengths.tolist() == [2]
