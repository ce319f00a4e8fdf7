"""The functions of each split, and what the configuration may get wrong."""

from dataclasses import replace

import pytest
from etils import epath

from experiments import gpt3_in_context
from ssl_jax.data.functions import split_of
from ssl_jax.errors import UserError
from ssl_jax.training.schedules import ScheduleConfig

TINY = gpt3_in_context.PRESETS["tiny"]
SMALL = replace(
    TINY,
    letters=4,
    classes=3,
    words=1,
    dialects=3,
    pairs=5,
    steps=4,
    validation_sequences=50,
    test_sequences=90,
    model=replace(TINY.model, vocab_size=23, positions=11, layers=1, width=8, heads=1, mlp_width=8),
    schedule=ScheduleConfig(learning_rate=1e-3, warmup_steps=1),
    train=replace(TINY.train, batch_size=16, log_every=2, eval_every=2, save_every=4),
)


def test_training_and_evaluation_have_functions_of_their_own(tmp_path):
    data = gpt3_in_context.build(SMALL).open_data(epath.Path(tmp_path))
    sequences = gpt3_in_context.make_sequences(SMALL, "train")
    rows = {"train": data.train[0][:60], "validation": data.heldout[0]["validation"]}
    for split, dataset in rows.items():
        for row in dataset:
            family, queries, answers = sequences.read(row)
            values = dict(zip(queries.tolist(), answers.tolist(), strict=True))
            if len(values) == family.inputs:  # the sequence shows all of its function
                assert split_of(family, [values[x] for x in range(family.inputs)]) == split


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"letters": 40}, "model.vocab_size 23: these families have 95 tokens; give --model.vocab_size 95"),
        ({"pairs": 1}, "pairs 1: expected"),
        ({"letters": 2}, "substitution: the family is too small, no function is in the"),
    ],
)
def test_configurations_that_do_not_fit(changes, named):
    with pytest.raises(UserError, match=named):
        gpt3_in_context.build(replace(SMALL, **changes))
