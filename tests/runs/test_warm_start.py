"""A run that starts from another one, or from weights, takes its tokenizer; what does not fit together is refused."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers
from etils import epath

from experiments import bart, bert
from ssl_jax.data import pretraining_text, tokenizer_files
from ssl_jax.data.images import ImageConfig
from ssl_jax.data.tokenizers import open_tokenizer, train_sentencepiece
from ssl_jax.errors import UserError
from ssl_jax.hub.bert import save_bert
from ssl_jax.models.bert import BertPretraining
from ssl_jax.recipes.datasets import open_image_data
from ssl_jax.runs.configuration import run_settings
from ssl_jax.runs.language_models import open_language_model
from ssl_jax.runs.opening import open_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.runs.warm_start import build_run, start_from
from ssl_jax.training import loop
from tests.training import toys

ANIMALS, COLOURS = (
    ("the cat sat on a mat", "the dog and the fox ran"),
    ("red green blue", "Grey and pink on white"),
)
VOCABULARY = 300
TEXT = "The Cat sat, grey."


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))


def corpus(file: Path, phrases: tuple[str, ...]) -> str:
    """A text of 40 documents of six sentences of the words of some phrases."""
    chance, words = np.random.default_rng(0), " ".join(phrases).split()
    lines = [[" ".join(chance.choice(words, 8)) + "." for _ in range(6)] for _ in range(40)]
    file.write_text("\n\n".join("\n".join(document) for document in lines) + "\n")
    return str(file)


def config(folder: Path, phrases: tuple[str, ...] = ANIMALS, **data: object) -> bert.Config:
    """A BERT of one layer on these words, which saves after its only step."""
    tiny = bert.PRESETS["tiny"]
    source = corpus(folder / f"{phrases[0][:3]}.txt", phrases)
    text = dataclasses.replace(tiny.data, source=source, heldout_share=0.2, heldout_rows=8)
    sizes = {"vocab_size": VOCABULARY, "positions": 24, "layers": 1, "width": 16, "heads": 2, "mlp_width": 16}
    sizes["position_encoding"] = "absolute"  # tests of exports know the layout of BERT
    return dataclasses.replace(
        tiny,
        steps=1,
        phases=(bert.PhaseConfig(length=24),),
        data=dataclasses.replace(text, **data),
        model=dataclasses.replace(tiny.model, **sizes),
        schedule=dataclasses.replace(tiny.schedule, warmup_steps=0),
        train=dataclasses.replace(tiny.train, batch_size=8, eval_every=1, save_every=1),
    )


def begin(
    folder: Path, config: bert.Config, init_from: object = None, module=bert, *, save: bool = True
) -> loop.Run:
    """A run before its first step, as `python -m experiments.bert` makes it; saved as if it were after some."""
    source = None if init_from is None else str(init_from)
    experiment = build_run(module.build, config, epath.Path(folder), source)
    run = loop.Run(experiment, epath.Path(folder), run_settings(module.__name__, "tiny", config, source))
    if save:
        run.checkpoints.save(run.state, {"clock": dataclasses.asdict(run.clock)})
    run.checkpoints.close()
    return run


def ids(run: loop.Run) -> list[int]:
    """Of a text, by the tokenizer that the run's data is made with."""
    return run.data.details.tokenizer.encode(TEXT)


def wordpiece(folder: Path) -> Path:
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [f"[unused{i}]" for i in range(100)]
    pieces[0] = "[PAD]"
    pieces += ["[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", "The", "cat", *letters, *letters.upper()]
    pieces += [f"##{letter}" for letter in letters]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    return folder / "vocab.txt"


def byte_level(folder: Path, *, whole: bool) -> Path:
    """A tokenizer.json as BART has it, or its vocab.json and merges.txt."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([*ANIMALS, *COLOURS], 280, special_tokens=special, show_progress=False)
    if whole:
        tokenizer.save(str(folder / "tokenizer.json"))
        return folder / "tokenizer.json"
    tokenizer.save_model(str(folder))
    return folder / "vocab.json"


KINDS = {
    "trained": lambda folder: "train",
    "characters": lambda folder: "characters",
    "SentencePiece": lambda folder: train_sentencepiece([*ANIMALS, *COLOURS], 40).save(folder),
    "cased WordPiece": wordpiece,
    "tokenizer.json": lambda folder: byte_level(folder, whole=True),
    "vocab.json": lambda folder: byte_level(folder, whole=False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokenizer_of_the_source_is_used_although_the_corpus_would_train_another(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    named, source = tmp_path / "named", tmp_path / "source"
    named.mkdir()
    first = config(tmp_path, tokenizer=str(KINDS[kind](named)), lowercase=kind == "trained")
    old = begin(source, first)
    shutil.rmtree(named)
    monkeypatch.setattr(pretraining_text, "train_sentencepiece", lambda *_, **__: pytest.fail("trained"))
    built, build = [], bert.build
    monkeypatch.setattr(bert, "build", lambda config: built.append(config) or build(config))
    other = config(tmp_path, COLOURS)  # `train`, and folded case
    capsys.readouterr()
    new = begin(tmp_path / "new", other, source)
    out = capsys.readouterr().out
    assert f"tokenizer of {source}: {tokenizer_files.describe(old.data.details.tokenizer)}\n" in out
    assert ids(new) == ids(old)
    assert built[0].data.special == old.data.details.tokenizer.special
    assert new.data.preprocessing == old.data.preprocessing
    files = {file.name for file in source.iterdir() if file.name.startswith(("tokenizer", "vocab", "char"))}
    for name in files:
        assert (tmp_path / "new" / name).read_bytes() == (source / name).read_bytes()

    # The new run folder is complete: it is continued, opened and started from without the source.
    shutil.rmtree(source)
    again = begin(tmp_path / "new", other, source, save=False)
    assert "continuing at step" in capsys.readouterr().out
    assert ids(again) == ids(old)
    opened = open_run(RunReference(epath.Path(tmp_path / "new")))
    assert opened.data.details.tokenizer.encode(TEXT) == ids(old)
    jax.tree.map(np.testing.assert_array_equal, opened.restore()["params"], new.state.params)
    third = begin(tmp_path / "third", config(tmp_path), tmp_path / "new", save=False)
    assert ids(third) == ids(old)
    if kind == "cased WordPiece":
        with pytest.raises(
            UserError, match=r"WordPiece of \d+ pieces, case kept, not data\.tokenizer characters"
        ):
            begin(tmp_path / "fourth", config(tmp_path, tokenizer="characters"), tmp_path / "new", save=False)


def test_a_run_that_was_killed_before_its_first_checkpoint_takes_the_tokenizer_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed while the files are written, and before the corpus is tokenised."""

    class Killed(BaseException):
        pass

    source, folder, asked = tmp_path / "source", tmp_path / "new", config(tmp_path, COLOURS)
    old = begin(source, config(tmp_path, tokenizer=str(wordpiece(tmp_path)), lowercase=False))

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(epath.Path, "replace", killed)
        patch.setattr(type(epath.Path(tmp_path)), "replace", killed)
        with pytest.raises(Killed):
            begin(folder, asked, source)
    assert not (folder / "vocab.txt").exists()
    with monkeypatch.context() as patch:
        patch.setattr(pretraining_text, "tokenize_corpus", killed)
        with pytest.raises(Killed):
            begin(folder, asked, source)
    assert [*folder.iterdir()] == []  # it is claimed when all has been checked
    assert ids(begin(folder, asked, source)) == ids(old)


def test_the_source_is_needed_until_the_first_checkpoint(tmp_path: Path) -> None:
    source, folder, asked = tmp_path / "source", tmp_path / "new", config(tmp_path, COLOURS)
    old = begin(source, config(tmp_path))
    begin(folder, asked, source, save=False)
    source.rename(tmp_path / "away")
    with pytest.raises(
        UserError, match=f"--init_from {source}: neither a run folder with checkpoints nor weights"
    ):
        begin(folder, asked, source)
    (tmp_path / "away").rename(source)
    assert ids(begin(folder, asked, source)) == ids(old)


def test_a_different_vocabulary_of_equal_size_is_refused(tmp_path: Path) -> None:
    trained = [train_sentencepiece(phrases * 9, 38, "bpe") for phrases in (ANIMALS, COLOURS)]
    assert trained[0].vocab_size == trained[1].vocab_size
    files = []
    for number, tokenizer in enumerate(trained):
        (tmp_path / str(number)).mkdir()
        files.append(tokenizer.save(tmp_path / str(number)))
    old = begin(tmp_path / "source", config(tmp_path, tokenizer=str(files[0])))
    with pytest.raises(UserError) as error:
        begin(tmp_path / "new", config(tmp_path, COLOURS, tokenizer=str(files[1])), tmp_path / "source")
    message = str(error.value)
    assert (
        f"its tokenizer {tmp_path / 'source' / 'tokenizer.model'} is not data.tokenizer {files[1]}" in message
    )
    assert "Leave out --data.tokenizer" in message
    assert not (tmp_path / "new").exists()
    same = begin(tmp_path / "new", config(tmp_path, COLOURS, tokenizer=str(files[0])), tmp_path / "source")
    assert ids(same) == ids(old)


def test_the_same_pieces_with_another_case_are_refused(tmp_path: Path) -> None:
    file = str(wordpiece(tmp_path))
    begin(tmp_path / "source", config(tmp_path, tokenizer=file, lowercase=False))
    with pytest.raises(UserError, match="case kept there, folded here"):
        begin(tmp_path / "new", config(tmp_path, tokenizer=file, lowercase=True), tmp_path / "source")


def test_a_source_that_has_lost_its_tokenizer_still_refuses_another(tmp_path: Path) -> None:
    begin(tmp_path / "source", config(tmp_path))
    (tmp_path / "source" / "tokenizer.model").unlink()
    with pytest.raises(
        UserError, match=r"was preprocessed in another way than that of this run: tokenizer .* here"
    ):
        begin(tmp_path / "new", config(tmp_path, COLOURS), tmp_path / "source")
    assert not (tmp_path / "new" / "data.json").exists()


def test_an_explicit_tokenizer_stays_the_runs_own_when_its_file_changes_or_goes(tmp_path: Path) -> None:
    file = wordpiece(tmp_path)
    asked = config(tmp_path, tokenizer=str(file), lowercase=False)
    first = begin(tmp_path / "run", asked)
    file.unlink()
    assert ids(begin(tmp_path / "run", asked, save=False)) == ids(first)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A BERT in Hugging Face's layout, with a cased vocabulary."""
    folder = tmp_path / "weights"
    folder.mkdir()
    wordpiece(folder)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": False, "model_max_length": 24})
    )
    (folder / "tokenizer.json").write_text("{}")
    model, token = config(tmp_path).model, jnp.zeros((1, 1), jnp.int32)
    params = BertPretraining(model).init(jax.random.key(1), token, token, token)["params"]
    save_bert(folder, model, jax.device_get(params))
    return folder


def test_imported_weights_bring_their_vocabulary_with_its_case(weights: Path, tmp_path: Path) -> None:
    run = begin(tmp_path / "run", config(tmp_path), weights)
    cased = open_tokenizer(weights / "vocab.txt", lowercase=False)
    assert ids(run) == cased.encode(TEXT) != open_tokenizer(weights / "vocab.txt").encode(TEXT)
    assert json.loads((tmp_path / "run" / "tokenizer_config.json").read_text()) == {"do_lower_case": False}
    with pytest.raises(UserError, match="case kept there, folded here"):
        begin(tmp_path / "b", config(tmp_path, tokenizer=str(weights / "vocab.txt")), weights)
    # Where the files do not say, the setting of the run decides.
    (weights / "tokenizer_config.json").unlink()
    assert ids(begin(tmp_path / "c", config(tmp_path), weights)) != ids(run)
    assert ids(begin(tmp_path / "d", config(tmp_path, lowercase=False), weights)) == ids(run)


def test_weights_whose_tokenizer_is_missing_or_unreadable(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (weights / "vocab.txt").rename(weights / "spiece.model")
    with pytest.raises(
        UserError,
        match=r"its tokenizer cannot be read, .*spiece\.model.*: its ids are not always those of the weights",
    ):
        begin(tmp_path / "run", config(tmp_path), weights)
    assert not (tmp_path / "run").exists()
    for name in ("spiece.model", "tokenizer.json"):
        (weights / name).unlink()
    begin(tmp_path / "run", config(tmp_path), weights)
    assert (
        f"{weights} has no tokenizer: the ids of its embeddings are read as those" in capsys.readouterr().out
    )


def test_a_cased_run_writes_cased(tmp_path: Path) -> None:
    tiny, asked = bart.PRESETS["tiny"], config(tmp_path, tokenizer=str(wordpiece(tmp_path)), lowercase=False)
    sizes = {
        "vocab_size": VOCABULARY,
        "positions": 24,
        "layers": 1,
        "decoder_layers": 1,
        "width": 16,
        "heads": 2,
    }
    model = dataclasses.replace(tiny.model, **sizes, mlp_width=16)
    asked = dataclasses.replace(tiny, steps=1, length=24, data=asked.data, model=model, train=asked.train)
    asked = dataclasses.replace(asked, schedule=dataclasses.replace(tiny.schedule, warmup_steps=0))
    run = begin(tmp_path / "run", asked, module=bart)
    (tmp_path / "vocab.txt").unlink()
    opened = open_language_model(str(tmp_path / "run")).tokenizer
    assert opened.encode(TEXT) == ids(run)
    assert "The" in opened.pieces(opened.encode(TEXT))


def with_preprocessing(identity: str, **preprocessing: str):
    """The toy on data of its own."""
    experiment = toys.experiment(steps=5, identity={"images": identity})
    return experiment._replace(
        open_data=lambda folder: experiment.open_data(folder)._replace(preprocessing=preprocessing)
    )


def test_images_may_be_others_but_not_preprocessed_otherwise(tmp_path: Path) -> None:
    source = RunReference(epath.Path(tmp_path / "source"))
    toys.train(with_preprocessing("a", channels="3", pixels="0 to 1"), source.folder)
    fine = start_from(with_preprocessing("b", channels="3", sound="16 kHz"), source)
    assert toys.train(fine, tmp_path / "fine") == 0
    refused = start_from(with_preprocessing("b", channels="1", pixels="0 to 1"), source)
    with pytest.raises(UserError, match="this run: channels 3 there, 1 here"):
        toys.train(refused, tmp_path / "refused")
    assert not (tmp_path / "refused" / "data.json").exists()
    with pytest.raises(UserError, match="channels 3 there"):  # again, not forgotten
        toys.train(refused, tmp_path / "refused")


def test_image_data_says_how_it_is_preprocessed() -> None:
    colour = ImageConfig(channels=3)
    assert open_image_data(colour, classes=0, seed=0).preprocessing == {"channels": "3", "pixels": "0 to 1"}


def test_an_experiment_without_text_ignores_tokenizers(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class Config:
        data: ImageConfig = dataclasses.field(default_factory=ImageConfig)

    toys.train(toys.experiment(steps=5), tmp_path / "source")
    (tmp_path / "source" / "tokenizer.model").write_bytes(b"of no interest")
    folder = epath.Path(tmp_path / "run")
    experiment = build_run(lambda _: toys.experiment(steps=5), Config(), folder, str(tmp_path / "source"))
    assert toys.train(experiment, folder) == 0
    assert not (folder / "tokenizer.model").exists()
