"""The study of ways to start on sequences of symbols: its runs, its table and plots, and bad input."""

import json
from dataclasses import replace

import pytest
from etils import epath

from experiments import token_remap, token_remap_arms
from ssl_jax.runs.study import load_study, study_settings
from tests import processes
from tests.cases import sequences
from tests.studies import run, small_bert


def test_what_of_a_pretrained_encoder_helps(tmp_path, monkeypatch, capsys):
    """An arm with two rates; then the second map, with the better rate."""
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    every = dict.fromkeys(("log_every", "eval_every", "save_every", "keep_every"), 2)
    each = replace(
        token_remap.OFFLINE,
        steps=2,
        length=24,
        labels=("GT", "AC"),
        data=replace(token_remap.OFFLINE.data, source=str(sequences(tmp_path))),
        bert=small_bert(tmp_path),
        schedule=replace(token_remap.OFFLINE.schedule, warmup_steps=0),
        train=replace(token_remap.OFFLINE.train, batch_size=8, **every),
    )
    rates = (1e-3, 0.1)
    config = token_remap_arms.Config(each, arms=("shuffled",), maps=2, repeats=1, rates=rates)
    folder = epath.Path(tmp_path / "arms")
    folder.mkdir()
    settings = study_settings(token_remap_arms.__name__, "tiny", config)
    (folder / "config.json").write_text(json.dumps(settings))
    tried = [f"shuffled-rate{rate:g}-map0-seed0" for rate in rates]
    assert [*load_study(folder).runs] == ["bert", *tried]
    run(token_remap_arms, "tiny", config, folder)

    out = capsys.readouterr().out
    assert out.count("the entries of each tensor are permuted, layer by layer") == 3
    last = {name: {line.get("split"): line for line in processes.log(folder / name)} for name in tried}
    best = max(tried, key=lambda name: last[name]["validation"]["macro_f1"])
    second = best.replace("map0", "map1")
    assert [*load_study(folder).runs] == ["bert", *tried, second]
    last[second] = {line.get("split"): line for line in processes.log(folder / second)}
    found = json.loads((folder / "arms.json").read_text())
    named = {"accuracy": "class_accuracy", "macro_f1": "macro_f1"}
    assert found["arms"] == {
        "shuffled": {
            "rate": rates[tried.index(best)],
            "metrics": {
                name: [last[each]["heldout"][logged] for each in (best, second)]
                for name, logged in named.items()
            },
            "maps": [0, 1],
        }
    }
    assert found["baselines"].keys() >= {"most frequent class"}
    assert (folder / "arms.txt").read_text().strip() in out
    assert {file.name for file in (folder / "plots").iterdir()} == {"arms.png", "loss.png", "macro_f1.png"}
    run(token_remap_arms, "tiny", config, folder)
    assert capsys.readouterr().out.count("already finished") == 4


def test_all_arms_have_the_same_maps_and_seeds():
    config = token_remap_arms.Config(repeats=2, rates=(0.1,), init_from="weights")
    runs = token_remap_arms.study(config).planned
    assert {run.init_from for run in runs.values()} == {"weights"}
    configs = [run.config for run in runs.values()]
    pairs = [(map, seed) for map in range(3) for seed in range(2)]
    assert [(each.data.map, each.train.seed) for each in configs] == 4 * pairs
    starts = [(False, "pretrained"), (True, "pretrained"), (False, "shuffled"), (False, "new_embeddings")]
    assert [(each.from_scratch, each.weights) for each in configs[::6]] == starts
    assert {each.schedule.learning_rate for each in configs} == {0.1}
    tried = token_remap_arms.study(token_remap_arms.Config(rates=(0.1, 0.2, 0.3))).planned
    assert len(tried) == 1 + 4 * 3
    assert {(run.config.data.map, run.config.train.seed) for run in [*tried.values()][1:]} == {(0, 0)}
    two = token_remap_arms.Config(repeats=3, tried_maps=2, rates=(0.1, 0.2), init_from="weights")
    tried = token_remap_arms.study(two).planned
    assert len(tried) == 4 * 2 * 2
    assert {(run.config.data.map, run.config.train.seed) for run in tried.values()} == {(0, 0), (1, 0)}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--arms"], "arms : expected at least one, each of them once"),
        (["--rates", "0.1", "0.1"], "rates 0.1 0.1: expected at least one, each of them once"),
        (["--tried_maps", "4"], "tried_maps 4: expected at most the 3 of maps"),
        (["--each.weights", "shuffled"], "each: how the encoder starts is not set here. Give --arms"),
        (["--init_from", "{}/absent"], "absent: no such folder; expected a run, or a folder of BERT weights"),
    ],
)
def test_arms_that_cannot_be_compared(refused, tmp_path, arguments, named):
    given = [argument.format(tmp_path) for argument in arguments]
    assert named in refused("token_remap_arms", *given, f"--workdir={tmp_path / 'study'}")
    assert not (tmp_path / "study").exists()
