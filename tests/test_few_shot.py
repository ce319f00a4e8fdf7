"""The command on imported weights, from a file to a table; and what a user may get wrong with it."""

import json

import jax
import jax.numpy as jnp
import matplotlib.image
import pytest

from ssl_jax import few_shot
from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.errors import UserError
from ssl_jax.hub.gpt2 import save_gpt2
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config

ROWS = [
    (f"the {w} one", "warm" if i % 3 else "cold")
    for i, w in enumerate(["sun", "ice", "fire", "snow", "day", "night", "hot"])
]
TASK = "input\toutput\n" + "".join(f"{question}\t{answer}\n" for question, answer in ROWS)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder with a random GPT-2 of 48 positions, and a tokenizer of the task's words that has no newline."""
    folder = tmp_path_factory.mktemp("weights")
    tokenizer = train_sentencepiece([f"{a} => {b} ;" for a, b in ROWS] * 4, 60)
    tokenizer.save(folder)
    config = Gpt2Config(tokenizer.vocab_size, positions=48, layers=1, width=8, heads=2, mlp_width=8)
    params = Gpt2(config).init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    save_gpt2(folder, config, jax.device_get(params))
    return folder


@pytest.fixture
def run(weights, tmp_path):
    def run(*arguments, text=TASK):
        (tmp_path / "seasons.tsv").write_text(text)
        source = ["--task", str(tmp_path / "seasons.tsv"), "--folder", str(tmp_path / "out")]
        return few_shot.main([str(weights), *source, *map(str, arguments)])

    return run


def test_from_a_file_to_a_table(run, tmp_path, capsys):
    asked = ("--shots", 0, 2, 6, "--draws", 2, "--description", "Warm or cold?")
    assert run(*asked) == 0
    out = capsys.readouterr().out
    assert "this tokenizer has no newline: ' ; ' stands between examples" in out
    assert "  | Warm or cold? ; the sun one => ...\n" in out
    assert "6 shots: 14 of 14 prompts have fewer" in out
    assert "more do not fit the context of 48 tokens" in out
    assert "majority 57.1%, chance 50.0%" in out
    found = json.loads((tmp_path / "out" / "seasons.json").read_text())
    assert list(found["shots"]) == ["0", "2", "6"]
    for shots in found["shots"].values():
        assert {"per_token", "sum", "over_unconditional", "exact_match"} <= shots.keys()
        right = [answer["per_token"] == answer["output"] for answer in shots["answers"]]
        assert len(right) == found["items"] == 7
    assert found["shots"]["0"]["per_token"]["accuracy"] == pytest.approx(
        sum(a["per_token"] == a["output"] for a in found["shots"]["0"]["answers"]) / 7
    )
    assert found["shots"]["0"]["sum"]["over_draws"] is None
    assert min(matplotlib.image.imread(tmp_path / "out" / "seasons.png").shape[:2]) > 300
    assert run(*asked) == 0
    assert json.loads((tmp_path / "out" / "seasons.json").read_text()) == found


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--shots", 7], "7 examples for .*: there are only 6 others"),
        (["--input", "question"], "no column 'question'; its columns are input, output"),
        (["--format", "{input}"], "format '{input}': expected"),
        (["--shots", -1], "--shots -1: expected"),
        (["--draws", 0], "--draws"),
        (["--description", "the one " * 40], "more than the model's context of 48"),
        (["--examples", "nowhere.tsv"], "no such file"),
    ],
)
def test_what_may_be_wrong(run, arguments, named):
    with pytest.raises(UserError, match=named):
        run(*arguments)


def test_a_model_that_is_not_there(tmp_path):
    (tmp_path / "seasons.tsv").write_text(TASK)
    with pytest.raises(UserError, match="no such folder"):
        few_shot.main([str(tmp_path / "none"), "--task", str(tmp_path / "seasons.tsv")])
