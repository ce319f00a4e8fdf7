"""The command that applies a fine-tuned model to text: where the text comes from, and how the results are written.

What the model predicts is tested with the experiments, in tests/experiments/whole_runs/test_every_experiment.py.
"""

import io
import json

import pytest

import ssl_jax
from ssl_jax import predict
from ssl_jax.errors import UserError
from tests.runs.test_encoders import tune, tuning
from tests.runs.test_warm_start import begin, cache, config  # noqa: F401

CERTAIN = {"few": 0.25, "many": 0.75}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def answer(monkeypatch):
    """Runs the command on a model that always says the same; returns (the texts it was given, the output)."""

    def answer(*arguments, source=""):
        given = []

        def predictions(run, texts):
            given.extend(texts)
            return [
                {"text": t, "label": "many", "probability": 0.75, "probabilities": CERTAIN} for t in texts
            ]

        monkeypatch.setattr(predict, "predictions", predictions)
        out = io.StringIO()
        assert predict.main(["RUN", *arguments], out, io.StringIO(source)) == 0
        return given, out.getvalue()

    return answer


def test_texts_of_the_command_line(answer):
    assert answer("A é.", "B.") == (["A é.", "B."], "many\t0.7500\tA é.\nmany\t0.7500\tB.\n")


def test_lines_of_a_file_and_of_standard_input(answer, tmp_path):
    file = tmp_path / "texts.txt"
    file.write_bytes("\ufeffA.\r\nB \u2028 C.\r\n".encode())
    assert answer("--file", str(file))[0] == ["A.", "B \u2028 C."]
    assert answer(source="A.\nB.\n")[0] == ["A.", "B."]


def test_json_lines(answer, tmp_path):
    expected = {"text": "A é.", "label": "many", "probability": 0.75, "probabilities": CERTAIN}
    _, out = answer("A é.", "--json")
    assert json.loads(out) == expected
    assert "é" in out
    _, out = answer("A é.", "B.", "--output", str(tmp_path / "out.jsonl"))
    assert out == ""
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["A é.", "B."]


def test_a_line_of_each_kind_of_result():
    results = [
        {"text": "a b", "words": ["a", "b"], "tags": ["X", "O"]},
        {"text": "q\tc d", "answer": "d", "start": 2},
        {"text": "a", "score": 1.25},
    ]
    assert list(predict.shown(results, as_json=False)) == ["a/X b/O", "d\tq\tc d", "1.2500\ta"]


def test_no_text_is_refused():
    with pytest.raises(UserError, match="no text to classify"):
        predict.main(["RUN"], io.StringIO(), Terminal())
    with pytest.raises(UserError, match="texts and --file x: give either"):
        predict.main(["RUN", "A.", "--file", "x"], io.StringIO(), Terminal())


def test_a_file_without_text_is_refused(tmp_path):
    for name, content, message in (
        ("empty.txt", "", r"--file .*empty\.txt: it is empty; expected a text a line\."),
        ("absent.txt", None, r"absent\.txt': no such file"),
    ):
        if content is not None:
            (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=message):
            predict.main(["RUN", "--file", str(tmp_path / name)], io.StringIO(), Terminal())


def test_a_long_text_is_read_up_to_the_length_of_a_row(tmp_path):
    """What comes after makes no difference, and an empty text is named by its number."""
    run = str(tmp_path / "run")
    tune(tmp_path / "run", tuning(tmp_path, from_scratch=True))
    long, longer, short = predict.predictions(run, ["the cat " * 8, "the cat " * 9, "the cat"])
    assert long["probabilities"] == longer["probabilities"] != short["probabilities"]
    assert longer["text"] == "the cat " * 9
    model = ssl_jax.load(run)
    assert model.abilities == ("embed", "predict")
    assert model.predict(["the cat " * 8, "the cat " * 9, "the cat"]) == [long, longer, short]
    with pytest.raises(UserError, match="text 2 of 2 is empty; leave it out"):
        predict.predictions(run, ["A cat.", " "])
    with pytest.raises(UserError, match=r"has no checkpoint of step 9; there are 0"):
        predict.predictions(f"{run}@9", ["A cat."])


def test_a_run_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"absent: not a run folder \(it has no config\.json\)"):
        predict.predictions(str(tmp_path / "absent"), ["A."])


def test_a_run_that_classifies_nothing_is_refused(tmp_path):
    begin(tmp_path / "run", config(tmp_path))
    with pytest.raises(
        UserError, match=r"the model of experiments\.bert is not fine-tuned; expected a run of"
    ):
        predict.predictions(str(tmp_path / "run"), ["A."])
