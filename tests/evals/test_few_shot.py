"""Answers of a toy model to few-shot prompts, against a loop in NumPy over single prompts without padding."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.data.few_shot import Examples, Format, Item
from ssl_jax.decoding.decoder import Decoder
from ssl_jax.decoding.generate import _decode_chunk, _prefill
from ssl_jax.decoding.scoring import continuation_log_likelihood
from ssl_jax.errors import UserError
from ssl_jax.evals.few_shot import FewShot, LanguageModel, compare_choices, first_line

LETTERS = "\n=>abcdefghij "
BEGIN, END = len(LETTERS), len(LETTERS) + 1
VOCAB = len(LETTERS) + 2


class Characters:
    """A token for each character, and one for "=>"."""

    def encode(self, text):
        return [LETTERS.index(character) for character in text]

    def decode(self, ids):
        return "".join(LETTERS[i] for i in ids if i < len(LETTERS))


def weights():
    rng = np.random.default_rng(10)
    return {"last": rng.normal(size=(VOCAB, VOCAB)), "bag": 4 * rng.normal(size=(VOCAB, VOCAB))}


def toy(positions=200):
    """The next token depends on the last one and on the mean of all before."""

    def predict(params, last, total, count):
        return jnp.take(params["last"], last, axis=0) + (total / count[..., None]) @ params["bag"]

    def start(params, prompts, lengths, room):
        there = jnp.arange(prompts.shape[1])[None] < lengths[:, None]
        total = (jax.nn.one_hot(prompts, VOCAB) * there[..., None]).sum(1)
        last = jnp.take_along_axis(prompts, lengths[:, None] - 1, axis=1)[:, 0]
        return predict(params, last, total, lengths.astype(jnp.float32)), (total, lengths)

    def extend(params, tokens, memory):
        total, lengths = memory
        totals = total[:, None] + jnp.cumsum(jax.nn.one_hot(tokens, VOCAB), axis=1)
        counts = lengths[:, None] + 1 + jnp.arange(tokens.shape[1])[None]
        logits = predict(params, tokens, totals, counts.astype(jnp.float32))
        return logits, (totals[:, -1], counts[:, -1])

    return Decoder(lambda params: params, start, extend, positions, reads_source=False)


DECODER = toy()
PARAMS = jax.tree.map(lambda array: jnp.asarray(array, jnp.float32), weights())
MODEL = LanguageModel(DECODER, PARAMS, Characters(), (BEGIN,), END)
ITEMS = [
    Item(word, output, ("a", "bc", "j" * 20))
    for word, output in [("ab", "a"), ("cdcd", "bc"), ("a", "a"), ("hgf", "a"), ("jjjjjjj", "bc")]
]
FORMAT = Format()


def next_logits(tokens):
    table = weights()
    return table["last"][tokens[-1]] + np.eye(VOCAB)[tokens].mean(0) @ table["bag"]


def log_likelihood(prompt, continuation):
    tokens, total = [BEGIN, *Characters().encode(prompt)], 0.0
    for token in Characters().encode(continuation):
        logits = next_logits(tokens)
        total += logits[token] - np.log(np.exp(logits).sum())
        tokens.append(token)
    return total


def greedy(prompt, count):
    tokens, written = [BEGIN, *Characters().encode(prompt)], []
    for _ in range(count):
        written.append(int(next_logits(tokens).argmax()))
        if written[-1] == END:
            break
        tokens.append(written[-1])
    return Characters().decode(written)


def evaluated(items=ITEMS, batch_size=4, model=MODEL, seed=0):
    return FewShot(model, items, Examples(items, seed), FORMAT, batch_size)


@pytest.fixture(scope="module")
def answered():
    """(few-shot evaluation, its prompts with two examples, the answers to them)"""
    task = evaluated()
    prompts = task.prompts(2, draw=0)
    return task, prompts, task.answers(prompts)


def test_choices_and_text_by_a_loop(answered):
    task, prompts, answers = answered
    for number, (prompt, item) in enumerate(zip(prompts, ITEMS, strict=True)):
        assert prompt.text.endswith(f"\n{item.input} =>")
        total = np.array([log_likelihood(prompt.text, f" {choice}") for choice in item.choices])
        tokens = np.array([1 + len(choice) for choice in item.choices])
        alone = np.array([log_likelihood("=>", f" {choice}") for choice in item.choices])
        wanted = {"sum": total, "per_token": total / tokens, "over_unconditional": total - alone}
        for name, values in wanted.items():
            assert answers.chosen[name][number] == values.argmax(), name
        written = greedy(prompt.text, task._new_tokens).lstrip().split("\n")[0].strip()
        assert answers.written[number] == written
    assert len({tuple(numbers) for numbers in answers.chosen.values()}) == 3  # the normalisations disagree
    assert len(set(answers.written)) > 1


def test_log_likelihoods_by_a_loop(answered):
    task, prompts, _ = answered
    asked = [(prompt.text, choice) for prompt in prompts for choice in ITEMS[0].choices]
    found = task._log_likelihoods([task._continuation(*pair) for pair in asked])
    wanted = [log_likelihood(prompt, f" {choice}") for prompt, choice in asked]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_answers_do_not_depend_on_the_batch_or_the_order(answered):
    _, prompts, answers = answered
    backwards = evaluated(ITEMS[::-1])
    again = backwards.prompts(2, draw=0)
    assert again == prompts[::-1]
    other = backwards.answers(again)
    assert other.written == answers.written[::-1]
    assert other.chosen == {name: numbers[::-1] for name, numbers in answers.chosen.items()}


def test_few_programs_are_compiled(answered):
    task, prompts, answers = answered
    programs = (_prefill, _decode_chunk, continuation_log_likelihood)
    before = [program._cache_size() for program in programs]
    assert task.answers(prompts) == answers
    assert task.answers(task.prompts(2, draw=1)).written
    assert [program._cache_size() for program in programs] == before


def test_exact_match_is_of_the_first_line(answered):
    task, _, answers = answered
    said = answers._replace(written=["a", "bc", "a b", "", "bcd"])
    assert task.right(said)["exact_match"].tolist() == [True, True, False, False, False]
    said = answers._replace(chosen={"sum": [0, 0, 2, 0, 1]})
    assert task.right(said)["sum"].tolist() == [True, False, False, True, True]


@pytest.mark.parametrize(
    ("text", "separator", "first"),
    [
        (" a b\nc => d", "\n", "a b"),
        ("\n\nab", "\n", "ab"),
        ("ab ; cd", " ; ", "ab"),
        ("ab", "\n\n", "ab"),
        ("", "\n", ""),
    ],
)
def test_first_line(text, separator, first):
    assert first_line(text, separator) == first


def test_normalisations():
    found = compare_choices(np.array([-4.0, -6.0]), np.array([1, 3]), np.array([-1.0, -8.0]))
    assert {name: values.tolist() for name, values in found.items()} == {
        "per_token": [-4.0, -2.0],
        "sum": [-4.0, -6.0],
        "over_unconditional": [-3.0, 2.0],
    }


def test_prompts_that_do_not_fit_have_fewer_examples():
    short = evaluated(model=MODEL._replace(decoder=toy(positions=48)))
    prompts, full = short.prompts(2, draw=0), evaluated()
    assert any(prompt.shots < 2 for prompt in prompts)
    for number, prompt in enumerate(prompts):
        assert prompt == full.prompts(prompt.shots, draw=0)[number]._replace(asked=2)
        longest = len(prompt.text) + 1 + max(short._new_tokens, 21)
        assert longest <= 48
        if prompt.shots < 2:
            longer = full.prompts(prompt.shots + 1, draw=0)[number].text
            assert len(longer) + 1 + max(short._new_tokens, 21) > 48


def test_a_query_that_does_not_fit():
    with pytest.raises(
        UserError, match="'ab' and its answer take 27 tokens, more than the model's context of 20"
    ):
        evaluated(model=MODEL._replace(decoder=toy(positions=20))).prompts(0, draw=0)


def test_a_token_over_the_seam_counts_to_the_answer():
    """As where "=> a" is one token, and "=>" another."""
    pairs = SimpleNamespace(encode=lambda text: [text[i : i + 2] for i in range(0, len(text), 2)])
    task = FewShot(MODEL._replace(tokenizer=pairs), ITEMS[:1], Examples(ITEMS, 0), FORMAT)
    assert task._continuation("x =>", "ab") == ([BEGIN, "x ", "=>"], [" a", "b"])
    assert task._continuation("xy =>", "ab") == ([BEGIN, "xy", " ="], ["> ", "ab"])
    with pytest.raises(UserError, match="makes no token"):
        FewShot(
            MODEL._replace(tokenizer=SimpleNamespace(encode=lambda text: [])),
            ITEMS[:1],
            Examples(ITEMS, 0),
            FORMAT,
        )
