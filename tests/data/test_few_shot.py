"""Tasks from files; prompts to the letter; examples that never hold the item itself, whatever the order of the pool."""

import random

import pytest

from ssl_jax.data.few_shot import Examples, Format, Item, read_task
from ssl_jax.errors import UserError

POOL = [Item(f"word {i}", f"mot {i}", ()) for i in range(20)]


def table(folder, text, name="task.tsv"):
    file = folder / name
    file.write_text(text)
    return str(file)


def test_a_prompt_to_the_letter():
    format = Format("{input} => {output}", "Translate English to French:")
    examples = [Item("sea otter", "loutre de mer", ()), Item("peppermint", "menthe poivrée", ())]
    assert format.prompt("cheese", examples) == (
        "Translate English to French:\nsea otter => loutre de mer\npeppermint => menthe poivrée\ncheese =>"
    )
    assert format.prompt("cheese") == "Translate English to French:\ncheese =>"
    assert Format().prompt("cheese") == "cheese =>"
    assert format.continuation("fromage") == " fromage"
    assert format.answer_context == "=>"


def test_another_format():
    format = Format("Q: {input}\nA:{output}", separator="\n\n")
    assert format.prompt("why", [Item("{output}", "{input}", ())]) == "Q: {output}\nA:{input}\n\nQ: why\nA:"
    assert (format.continuation("so"), format.answer_context) == ("so", "A:")


@pytest.mark.parametrize(
    "example", ["{input}", "{output} {input}", "{input} {input} {output}", "{input}: {output}."]
)
def test_a_format_without_a_query(example):
    with pytest.raises(UserError, match=r"\{output\} at its end"):
        Format(example)


def test_examples_are_seeded_nested_and_never_the_item():
    examples = Examples(POOL, seed=0)
    for item in POOL:
        chosen = examples.choose(item.input, 19)
        assert item not in chosen
        assert len(set(chosen)) == 19
        assert examples.choose(item.input, 4) == chosen[:4]
        assert examples.choose(item.input, 4, draw=1) != chosen[:4]
        assert Examples(POOL, seed=1).choose(item.input, 4) != chosen[:4]
    assert len({tuple(examples.choose(item.input, 2)) for item in POOL}) > 10  # each query has its own


def test_examples_do_not_depend_on_the_order_of_the_pool_nor_on_repeated_rows():
    shuffled = POOL * 2
    random.Random(0).shuffle(shuffled)
    for item in POOL[:5]:
        assert Examples(shuffled, 0).choose(item.input, 6) == Examples(POOL, 0).choose(item.input, 6)


def test_a_row_with_the_same_input_is_the_same_item():
    pool = [Item("same", "one", ()), Item("same", "two", ()), Item("same", "one", ("one", "two")), *POOL[:3]]
    for draw in range(20):
        assert all(example.input != "same" for example in Examples(pool, 0).choose("same", 3, draw))
    with pytest.raises(UserError, match="only 3 others"):
        Examples(pool, 0).choose("same", 4)


def test_a_task_and_its_choices(tmp_path):
    text = "input\toutput\toptions\n a \tyes\tyes|no\nb\tno\tno | yes | maybe\n"
    assert read_task(table(tmp_path, text), "input", "output") == [
        Item("a", "yes", ("no", "yes")),
        Item("b", "no", ("no", "yes")),
    ]
    assert read_task(table(tmp_path, text), "input", "output", "options")[1].choices == ("no", "yes", "maybe")
    many = "input\toutput\n" + "".join(f"{i}\t{i}\n" for i in range(21))
    assert read_task(table(tmp_path, many), "input", "output")[0].choices == ()


@pytest.mark.parametrize(
    ("text", "columns", "named"),
    [
        ("input\tanswer\na\tb\n", ("input", "output"), "no column 'output'; its columns are input, answer"),
        ("input\toutput\na\tb\tc\n", ("input", "output"), "line 2: 3 columns; expected 2"),
        ("input\toutput\n", ("input", "output"), "no rows"),
        ("input\toutput\na\tb\nc\t \n", ("input", "output"), "item 2: an empty cell"),
        (
            "input\toutput\to\na\tb\tc|d\n",
            ("input", "output", "o"),
            "output 'b' is not among its choices 'c', 'd'",
        ),
        ("input\toutput\to\na\tb\tb|\n", ("input", "output", "o"), "item 1: an empty choice"),
    ],
)
def test_what_a_task_may_get_wrong(tmp_path, text, columns, named):
    with pytest.raises(UserError, match=named.replace("|", r"\|")):
        read_task(table(tmp_path, text), *columns)


def test_a_task_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_task(str(tmp_path / "none.tsv"), "input", "output")
    with pytest.raises(UserError, match=r"expected a .tsv file"):
        read_task(table(tmp_path, "a", "task.csv"), "input", "output")
