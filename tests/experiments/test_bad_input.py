"""What a user may get wrong with text: one paragraph on stderr that names it, exit code 2, nothing lost."""

import runpy
import sys

import pytest

SMALL = [
    "--model.vocab_size=60",
    "--model.positions=32",
    "--model.layers=1",
    "--model.width=16",
    "--model.heads=2",
    "--model.mlp_width=32",
    "--steps=2",
    "--phases.0.length=32",
    "--schedule.warmup_steps=1",
    "--train.batch_size=8",
]
DOCUMENT = "\n".join(f"Sentence number {i} of a small text, about this and that." for i in range(8))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs `python -m experiments.bert` with arguments; returns (exit code, stderr)."""

    def run(*arguments):
        command = ["bert", *SMALL, f"--workdir={tmp_path / 'run'}", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        monkeypatch.delitem(sys.modules, "experiments.bert", raising=False)  # runpy wants to import it itself
        with pytest.raises(SystemExit) as exit:
            runpy.run_module("experiments.bert", run_name="__main__", alter_sys=True)
        return exit.value.code, capsys.readouterr().err

    return run


def write(folder, text):
    file = folder / "corpus.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def corpus(folder, documents=20):
    return write(folder, "\n\n".join(DOCUMENT.replace("this", f"thing {i}") for i in range(documents)))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (None, "corpus.txt"),
        ("", "empty"),
        ("\n\n \n", "empty"),
        ("Only one sentence.\n", "needed"),
        (DOCUMENT + "\n\nbroken \xff".encode("latin-1").decode("latin-1"), None),
        (DOCUMENT.encode() + b"\n\nbroken \xff\xfe text\n", "UTF-8"),
        ("\n\n".join([DOCUMENT] * 2), "document"),
        (
            "\n\n".join(f"A few words {i}.\nAnd then some {i}." for i in range(6)),
            "rows of 32 tokens, fewer than one batch",
        ),
    ],
    ids=[
        "missing",
        "empty",
        "blank",
        "one sentence",
        "latin text is fine as UTF-8",
        "invalid UTF-8",
        "repeated",
        "small",
    ],
)
def test_corpus(run, tmp_path, text, named):
    file = tmp_path / "corpus.txt"
    if text is not None:
        write(tmp_path, text)
    code, error = run(f"--data.source={file}")
    assert code == 2
    assert "Traceback" not in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    if named:
        assert named in error


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--data.source=tfds:wikipedia/20230601.en"], "download_and_prepare"),
        (["--data.source=tfds:no_such_thing"], "no_such_thing"),
        (["--data.source=nonsense:thing"], "nonsense:thing"),
        (["--phases.0.length=64"], "positions"),
        (["--train.batch_size=12"], "train.batch_size 12"),
        (["--train.micro_batches=3"], "micro-batches"),
        (["--masking.rate=2"], "masking.rate"),
        (["--model.heads=3"], "heads"),
        (["--model.pooler=False"], "model.pooler False"),
        (["--data.tokenizer=/nowhere/vocab.txt"], "/nowhere/vocab.txt"),
        (["--init_from=/nowhere/run"], "/nowhere/run"),
    ],
)
def test_setting(run, tmp_path, arguments, named):
    source = [] if any("data.source" in a for a in arguments) else [f"--data.source={corpus(tmp_path)}"]
    code, error = run(*source, *arguments)
    assert code == 2
    assert "Traceback" not in error
    assert named in error


def test_an_endless_document_and_sentence_just_work(run, tmp_path):
    endless = " ".join(f"word{i % 50}" for i in range(30_000))
    text = "\n\n".join(
        [DOCUMENT.replace("this", f"thing {i}") for i in range(20)] + [f"{endless}.\nAnd the end."]
    )
    code, error = run(f"--data.source={write(tmp_path, text)}")
    assert (code, error) == (0, "")


def test_changed_tokenizer_or_corpus_is_refused_and_nothing_is_lost(run, tmp_path):
    source = corpus(tmp_path)
    assert run(f"--data.source={source}")[0] == 0
    log = (tmp_path / "run" / "metrics.jsonl").read_text()

    model = tmp_path / "run" / "tokenizer.model"
    kept = model.read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    write(other, "\n\n".join(DOCUMENT.upper().replace("THIS", f"XYZ {i}") for i in range(20)))
    assert run(f"--data.source={other / 'corpus.txt'}", f"--workdir={other / 'run'}")[0] == 0
    model.write_bytes((other / "run" / "tokenizer.model").read_bytes())
    code, error = run(f"--data.source={source}")
    assert code == 2
    assert "tokenizer" in error

    model.write_bytes(kept)
    corpus(tmp_path, documents=21)
    code, error = run(f"--data.source={source}")
    assert code == 2
    assert "corpus" in error

    corpus(tmp_path)
    assert run(f"--data.source={source}")[0] == 0
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == log
