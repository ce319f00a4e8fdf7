"""The table of a study of GLUE: medians, ranges, the average and its name, people and systems beside them."""

import pytest

from ssl_jax.evals.glue import NINE, TaskResult
from ssl_jax.reports.glue import result_table, result_values

COLA = TaskResult({"matthews": (30.0, 60.0, 33.2)}, (30.0, 60.0, 33.2))
MRPC = TaskResult({"f1": (90.0, 88.0, 86.0), "accuracy": (80.0, 78.0, 70.0)}, (85.0, 83.0, 78.0))


def test_a_row_for_each_task_and_their_mean():
    lines = result_table({"cola": COLA, "mrpc": MRPC}, comparable=True)
    assert lines[0] == "scores on the validation sets, 3 seeds for each task:"
    title, cola, mrpc, mean = (line.split("   ") for line in lines[1:5])
    cells = [[cell.strip() for cell in row if cell.strip()] for row in (title, cola, mrpc, mean)]
    systems = ["human", "BiLSTM+ELMo+Attn", "OpenAI GPT", "BERT-base", "BERT-large"]
    assert cells[0] == ["in %", "median", "lowest", "highest", "/ human", *systems]
    assert cells[1] == ["CoLA", "33.2", "30.0", "60.0", "0.50", "66.4", "36.0", "45.4", "52.1", "60.5"]
    assert cells[2][:6] == ["MRPC", "83.0", "78.0", "85.0", "0.99", "83.5"]
    assert cells[3] == ["mean of 2 of 9 tasks", "58.1", "75.0", "60.5", "63.8", "70.5", "74.9"]
    assert "MRPC: the score is the mean of two, whose medians are f1 88.0 and accuracy 78.0." in lines[6]
    values = result_values({"cola": COLA, "mrpc": MRPC}, comparable=True)
    assert values["mean of 2 of 9 tasks"] == pytest.approx(58.1)
    assert values["tasks"]["cola"]["relative_to_human"] == pytest.approx(0.5)


def test_only_nine_tasks_have_an_average():
    results = dict.fromkeys(NINE, COLA)
    assert result_values(results, comparable=True)["average"] == pytest.approx(33.2)
    average = result_table(results, comparable=True)[11].split()
    assert average == ["average", "33.2", "87.1", "-", "-", "-", "-"], "no system has published WNLI"


def test_examples_by_rule_stand_beside_nothing():
    lines = result_table({"rte": COLA}, comparable=False)
    assert lines[1].split("   ")[-1].strip() == "highest"
    assert lines[-1].endswith("no published score can be compared.")
    assert "relative_to_human" not in result_values({"rte": COLA}, comparable=False)["tasks"]["rte"]
