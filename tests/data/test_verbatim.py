"""Text kept as it is: training rows give the bytes of a file back, and bits per byte are of these bytes."""

import pytest
import tokenizers
from etils import epath
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssl_jax.data.characters import train_characters
from ssl_jax.data.corpus import original_text
from ssl_jax.data.next_token import heldout_windows, training_rows
from ssl_jax.data.pretraining_text import TextConfig, bert_rows, open_pretraining_text
from ssl_jax.data.tokenizers import open_tokenizer, train_sentencepiece
from ssl_jax.errors import UserError

PIECES = "\n\n \t\r\n  ##\n,a'B. <|endoftext|>[MASK]é日🙂\ufeff\u2028▁Ġ the cat\u0301"
TEXT = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
    | st.sampled_from([*PIECES, "\n\n", "##"]),
    max_size=30,
).map("".join)


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory):
    """A byte-level BPE in GPT-2's layout."""
    bpe = tokenizers.ByteLevelBPETokenizer()
    bpe.train_from_iterator([PIECES], 300, special_tokens=["<|endoftext|>"], show_progress=False)
    path = tmp_path_factory.mktemp("bpe") / "tokenizer.json"
    bpe.save(str(path))
    return path


def opened(folder, tokenizer, contents, *, separator="", length=7, joined=True, make_rows=training_rows):
    """The text of some files as a run opens it, the first one held out."""
    (folder / "text").mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(contents):
        (folder / "text" / f"{number}.txt").write_bytes(content)
    config = TextConfig(
        source=f"{folder}/text/[!0].txt",
        heldout_source=f"{folder}/text/0.txt",
        format="verbatim",
        separator=separator,
        tokenizer=str(tokenizer),
    )
    (folder / "run").mkdir(exist_ok=True)
    return open_pretraining_text(
        config,
        epath.Path(folder / "run"),
        make_rows=make_rows,
        make_heldout_rows=heldout_windows(length, 10**6) if joined else None,
        joined=joined,
        vocab_size=4000,
        lengths=[length],
        batch_size=1,
        seed=0,
    )


def documents(tokenizer, rows, ends):
    """The text of the targets of all rows, by document: each ends with [EOS], and rows are as in the corpus."""
    texts = [b""]
    for number in range(len(rows)):
        row = rows(number)
        for token in row["targets"][row["weights"] > 0]:
            texts[-1] += tokenizer.piece_bytes([token])[0]
            if token == ends:
                texts.append(b"")
    return texts[:-1]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=TEXT.filter(bool), second=TEXT.filter(bool), separator=st.sampled_from(["", r"\n\n", "##", "é"]))
@pytest.mark.parametrize("kind", ["bytes", "characters", "byte-level BPE"])
def test_training_rows_give_the_bytes_of_the_files_back(
    kind, first, second, separator, byte_level, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("verbatim")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_JAX_CACHE", str(folder / "cache"))
        named = byte_level if kind == "byte-level BPE" else kind
        contents = [second.encode(), first.encode(), second.encode()]
        text = opened(folder, named, contents, separator=separator)
    rows = training_rows(text.training_corpus, 7, text.tokenizer)
    found = documents(text.tokenizer, rows, text.tokenizer.special.sep)
    real = separator.replace(r"\n", "\n")
    wanted = []
    for content in (first, second):
        parts = content.split(real) if real else [content]
        pieces = [part + real for part in parts[:-1]] + parts[-1:]
        wanted += [piece.encode() for piece in pieces if piece]
    assert sorted(found) == sorted(wanted)
    assert b"".join(original_text(text.heldout_source, text.heldout_corpus)) == second.encode()
    if kind != "characters":  # of which the vocabulary may lack some
        heldout = heldout_windows(3, 10**6)(text.heldout_corpus, 7, text.tokenizer)
        rows = [heldout(number) for number in range(len(heldout))]
        assert sum(int(row["bytes"] @ row["weights"]) for row in rows) == len(second.encode())
        for row in rows:
            assert (row["bytes"][row["targets"] == text.tokenizer.special.sep] <= 0).all()


def test_lines_of_packed_rows_keep_their_ends(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    content = "KING:\n  To be,\n\n\tor not.\r\n"
    options = {"joined": False, "make_rows": bert_rows("none")}
    text = opened(tmp_path, "bytes", [b"x", content.encode()], **options)
    packed = bert_rows("none")(text.training_corpus, 64, text.tokenizer)(0)
    assert text.tokenizer.decode(packed["tokens"]) == content


def test_unknown_characters_are_counted_and_named_and_their_bytes_count(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    text = opened(tmp_path, "characters", ["aé\nébZb".encode(), b"ab\nab", b"\n"])
    out = capsys.readouterr().out
    assert "0.txt: 3 of 7 characters are not in the vocabulary" in out
    assert "2 different ones, the most frequent 'é' 2, 'Z' 1" in out
    rows = heldout_windows(7, 100)(text.heldout_corpus, 7, text.tokenizer)
    assert sum(int(rows(number)["bytes"].sum()) for number in range(len(rows))) == len("aé\nébZb".encode())
    assert text.tokenizer.decode(text.heldout_corpus.document(0)) == "a\ufffd\n\ufffdb\ufffdb"


def test_normalised_text_counts_as_it_was(tmp_path, monkeypatch):
    """A SentencePiece makes "ﬁ", three bytes, to two, and puts a space before a text; the sum is that of the text."""
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.txt").write_text("\n\n".join(f"The \ufb01sh  swims {n}" for n in "abcdefgh"))
    text = open_pretraining_text(
        TextConfig(source=str(tmp_path / "a.txt"), heldout_share=0.4),
        epath.Path(tmp_path),
        make_rows=training_rows,
        make_heldout_rows=heldout_windows(5, 100),
        joined=True,
        vocab_size=40,
        lengths=[5],
        batch_size=1,
        seed=0,
    )
    rows = heldout_windows(5, 100)(text.heldout_corpus, 5, text.tokenizer)
    size = sum(int(rows(number)["bytes"] @ rows(number)["weights"]) for number in range(len(rows)))
    documents = original_text(text.heldout_source, text.heldout_corpus)
    assert documents[0].decode().startswith("The \ufb01sh  swims ")
    assert size == sum(map(len, documents)) == 18 * len(documents)


def test_what_changes_text_is_refused(tmp_path, byte_level, monkeypatch):
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    contents = [b"one", b"two"]
    with pytest.raises(
        UserError, match=r"of the kind SentencePiece, which --data.tokenizer train trains, changes"
    ):
        opened(tmp_path, "train", contents)
    train_sentencepiece(["one two three"] * 9, 30).save(epath.Path(tmp_path))
    with pytest.raises(UserError, match="of the kind SentencePiece changes the text"):
        opened(tmp_path, tmp_path / "tokenizer.model", contents)
    changing = {
        "a space before the text": {"add_prefix_space": True},
        "lower case": {"lowercase": True},
        "normal form": {"unicode_normalizer": "nfkc"},
    }
    for number, options in enumerate(changing.values()):
        bpe = tokenizers.ByteLevelBPETokenizer(**options)
        bpe.train_from_iterator([PIECES], 300, special_tokens=["<|endoftext|>"], show_progress=False)
        bpe.save(str(tmp_path / f"{number}.json"))
        assert not open_tokenizer(tmp_path / f"{number}.json").keeps_text
        with pytest.raises(UserError, match="of the kind byte-level BPE changes the text"):
            opened(tmp_path / str(number), tmp_path / f"{number}.json", contents)
    greedy = tokenizers.Tokenizer.from_file(str(byte_level))
    greedy.add_tokens([tokenizers.AddedToken("<sep>", lstrip=True)])
    greedy.save(str(tmp_path / "greedy.json"))
    assert open_tokenizer(byte_level).keeps_text
    assert not open_tokenizer(tmp_path / "greedy.json").keeps_text


def test_a_separator_is_of_verbatim_text_only():
    with pytest.raises(
        UserError, match=r"data\.separator '\\\\n': is of data\.format verbatim, not of lines"
    ):
        TextConfig(separator=r"\n").check_relations()


def test_the_characters_of_a_small_vocabulary_are_the_most_frequent():
    few = train_characters(["aaabb", "bc\nc"], 5 + 3)
    assert few.pieces(range(5, 8)) == ["a", "b", "c"]
    assert few.decode(few.encode("ac\n")) == "ac\ufffd"
    with pytest.raises(UserError, match="a vocabulary of 5 ids cannot be made of this text"):
        train_characters(["ab"], 5)
    with pytest.raises(UserError, match="of 0 different characters"):
        train_characters([], 50)
