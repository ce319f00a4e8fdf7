"""The page about runs: what it shows of whole, crashed, damaged and hostile folders, and that it is safe to open."""

import base64
import dataclasses
import json
import os
import shutil
from html.parser import HTMLParser

import pytest
from etils import epath
from matplotlib.figure import Figure

from experiments import minimal
from ssl_jax import report
from ssl_jax.errors import UserError
from ssl_jax.evals.plots import save_figure
from ssl_jax.reports.page import command_of
from ssl_jax.reports.page_tables import differences_table, tables_of, time_shares
from ssl_jax.runs.configuration import run_settings
from ssl_jax.runs.records import RunRecord, read_records
from ssl_jax.training import loop
from ssl_jax.training.experiment import TrainConfig

HOSTILE = '<img src="x" onerror="alert(1)">&'


class Page(HTMLParser):
    """A page as its tags, texts and addresses."""

    def __init__(self, file):
        super().__init__()
        self.tags, self.addresses, self.alts, self.text = [], [], [], ""
        self.source = file.read_text()
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        found = dict(attributes)
        self.addresses += [
            found[name] for name in ("src", "href", "srcset", "action", "data") if name in found
        ]
        self.alts += [found.get("alt")] if tag == "img" else []
        assert not [name for name in found if name.startswith("on")]

    def handle_data(self, data):
        self.text += data


def page_of(*folders, output):
    assert report.main([*map(str, folders), "--output", str(output)]) == 0
    return Page(output)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run of minimal."""
    folder = epath.Path(tmp_path_factory.mktemp("report") / "run")
    rhythm = TrainConfig(batch_size=64, log_every=10, eval_every=20, save_every=20, keep_every=20)
    config = dataclasses.replace(minimal.PRESETS["digits"], steps=40, noise=0.25, train=rhythm)
    baselines = {"reconstruction_loss": {"mean image": 0.07}}
    experiment = minimal.build(config)._replace(report=lambda report: report.baselines.update(baselines))
    assert loop.train(experiment, folder, run_settings("experiments.minimal", "digits", config)) == 0
    return folder


@pytest.fixture
def copy(run, tmp_path):
    """A copy of the run that may be changed."""
    return epath.Path(shutil.copytree(run, tmp_path / "copy"))


def test_a_run_is_shown_with_settings_curves_results_and_times(run, tmp_path):
    page = page_of(run, output=tmp_path / "page.html")
    for text in (
        "finished at step 40 of 40",
        "experiment experiments.minimal",
        "checkpoints of steps 20, 40",
        "differ from preset digits",
        "noise0.30.25",
        "compilation of the step",
        "waiting for data",
        "orbax-checkpoint",
    ):
        assert text in page.text.replace("\n", ""), text
    curves = [base64.b64decode(one.partition(",")[2]).decode() for one in page.addresses if "svg" in one]
    assert sum("mean image 0.07" in curve for curve in curves) == 1
    assert any("images per second" in curve for curve in curves)
    assert "reconstruction loss against the step, of run" in page.alts


def test_the_page_has_no_script_and_no_address_outside_of_it(run, copy, tmp_path):
    (copy / "samples").mkdir()
    (copy / "samples" / "step-20.wav").write_bytes(b"RIFF....WAVE")
    page = page_of(run, copy, output=tmp_path / "page.html")
    assert {address[:5] for address in page.addresses} == {"data:", "#run-"}
    assert "audio" in page.tags
    assert not {"script", "iframe", "object", "form"} & {*page.tags}
    assert "default-src 'none'" in page.source
    assert all(page.alts)


def test_what_a_stranger_wrote_is_text(copy, tmp_path):
    """Names of runs, files, metrics and settings, and their contents."""
    folder = copy.rename(tmp_path / HOSTILE.replace("/", ""))
    settings = json.loads((folder / "config.json").read_text())
    settings["config"]["width"] = settings["init_from"] = HOSTILE
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "samples").mkdir()
    (folder / "samples" / f"{HOSTILE}.txt").write_text(HOSTILE)
    save_figure(Figure(), folder / "samples" / f"{HOSTILE}.png")
    (folder / f"{HOSTILE}.json").write_text(json.dumps({HOSTILE: {HOSTILE: HOSTILE}}))
    with (folder / "metrics.jsonl").open("a") as log:
        log.write(json.dumps({"step": 50, HOSTILE: 1.0, "$\\frac_loss": 0.5}) + "\n")
    page = page_of(folder, output=tmp_path / "page.html")
    assert page.text.count(HOSTILE) >= 8
    assert {address[:5] for address in page.addresses} == {"data:"}
    assert page.tags.count("img") == len(page.alts) > 5


def test_runs_side_by_side(run, copy, tmp_path):
    """They are told apart by the ends of their paths, and what differs between them is a table."""
    settings = json.loads((copy / "config.json").read_text())
    settings["config"]["train"]["seed"] = 7
    (copy / "config.json").write_text(json.dumps(settings))
    other = copy.rename(tmp_path / "run")
    page = page_of(run, other, run, output=tmp_path / "page.html")
    first, second = (f"{folder.parent.name}/run" for folder in (run, other))
    assert f"setting{first}{second}train.seed07" in page.text.replace("\n", "")
    curves = [base64.b64decode(one.partition(",")[2]).decode() for one in page.addresses if "svg" in one]
    assert first in curves[0]
    assert second in curves[0]


def test_an_empty_and_a_crashed_run(tmp_path):
    empty, crashed = epath.Path(tmp_path / "empty"), epath.Path(tmp_path / "crashed")
    empty.mkdir()
    (empty / "config.json").write_text('{"experiment": "experiments.minimal", "init_from": null}')
    config = dataclasses.replace(minimal.PRESETS["digits"], steps=2)

    def fails(report):
        raise RuntimeError("no report today")

    experiment = minimal.build(config)._replace(report=fails)
    with pytest.raises(RuntimeError, match="no report today"):
        loop.train(experiment, crashed, run_settings("experiments.minimal", "digits", config))
    page = page_of(empty, crashed, output=tmp_path / "page.html")
    assert "nothing has been trained yet" in page.text
    assert "ended by an error at step 2 of 2: RuntimeError: no report today" in page.text


def test_damaged_files_are_told_and_the_rest_is_shown(copy, tmp_path):
    (copy / "wall_time.json").write_text("[{}]")
    (copy / "environment.json").write_text("{")
    (copy / "probes.json").write_text("[[[")
    (copy / "plots" / "map.png").write_text("<svg onload='alert(1)'>")
    (copy / "unknown.json").write_text('{"a": {"accuracy": 0.5}}')
    (record,) = read_records(copy)
    assert len(record.problems) == 4
    page = page_of(copy, output=tmp_path / "page.html")
    for text in (
        "map.png is not shown",
        "environment.json",
        "probes.json",
        "only the time of training",
        "50.0%",
    ):
        assert text in page.text
    shares = time_shares(record)
    assert [share.activity for share in shares] == ["waiting for data", "training steps"]
    assert sum(share.percent for share in shares) == pytest.approx(100)


def test_an_experiment_of_another_installation_is_shown_without_its_preset(copy, tmp_path):
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**settings, "experiment": "experiments.absent"}))
    page = page_of(copy, output=tmp_path / "page.html")
    assert "not part of this installation" in page.text
    assert "differ from preset" not in page.text
    assert "finished at step 40" in page.text


def test_a_run_that_was_made_from_python_is_shown(copy, tmp_path):
    """Its settings are whatever the caller gave."""
    (copy / "config.json").write_text('{"config": {"width": 3}}')
    (record,) = read_records(copy)
    assert (record.is_study, record.problems) == (False, [])
    page = page_of(copy, output=tmp_path / "page.html")
    assert "reconstruction loss against the step, of copy" in page.alts
    assert "width3" in page.text.replace("\n", "")


def test_a_study_is_shown_before_its_runs(run, tmp_path):
    study = epath.Path(tmp_path / "study")
    (study / "plots").mkdir(parents=True)
    shutil.copytree(run, study / "b")
    shutil.copytree(run, study / "inner" / "a")
    (study / "config.json").write_text(json.dumps({"experiment": "toy", "preset": "x", "config": {}}))
    (study / "table.json").write_text(json.dumps({"b": {"accuracy": 0.125}}))
    (study / "other.json").write_text(json.dumps({"b": {"accuracy": 0.375}}))
    (study / "other.txt").write_text("the same as text")
    page = page_of(study, output=tmp_path / "page.html")
    assert "37.5%" not in page.text
    places = [page.text.index(text) for text in ("the same as text", "12.5%", "Last evaluations", "\nb\n")]
    assert places == sorted(places)
    records = read_records(study)
    assert [record.folder.name for record in records] == ["study", "b", "a"]
    assert [record.is_study for record in records] == [True, False, False]


def test_links_out_of_a_folder_are_refused(copy, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    (copy / "samples").mkdir()
    os.symlink(tmp_path / "secret.txt", copy / "samples" / "link.txt")
    with pytest.raises(UserError, match="is a link to"):
        report.main([str(copy)])
    assert not (copy / "report.html").exists()


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["/a/experiments/bert.py", "tiny", "--x", "a b"], "python -m experiments.bert tiny --x 'a b'"),
        (["/a/ssl_jax/__main__.py", "bert"], "python -m ssl_jax bert"),
        (["-c"], "-c"),
        ("bert", ""),
        (None, ""),
    ],
)
def test_the_command_is_shown_as_it_is_typed(command, line):
    assert command_of(RunRecord(epath.Path("x"), environment={"command": command})) == line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no run to report"),
        (["RUN", "--output", "page.txt"], r"expected the name of an \.html file"),
        (["absent"], "not a run folder"),
        (["RUN", "--output", "absent.txt/page.html"], "cannot be written"),
    ],
)
def test_mistakes_of_the_command(words, message, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "absent.txt").write_text("")
    with pytest.raises(UserError, match=message):
        report.main([str(run) if word == "RUN" else word for word in words])


def test_json_becomes_tables():
    content = {
        "trained": {"knn": 0.5, "knn_sd": 0.01, "knn_labels": 100, "curve": [1.0] * 50},
        "pixels": {"knn": 0.25, "knn_labels": 100},
        "seed": 3,
        "by": {"class": {"a": {"f1": 1.0}}, "empty": [[1], [2]]},
        "points": [{"x": 1}, {"x": 2.5}],
    }
    rows, single, inner, listed = tables_of("probes", content)
    assert rows.columns == ["", "knn (100 labels)", "curve"]
    assert rows.rows == [["trained", "50.0% ± 1.0%", "50 values"], ["pixels", "25.0%", ""]]
    assert single.rows == [["seed", "3"]]
    assert (inner.title, inner.rows) == ("probes: by: class", [["a", "100.0%"]])
    assert (listed.title, listed.rows) == ("probes: points", [["1", "1"], ["2", "2.5"]])
    long = tables_of("t", {str(i): {"x": i} for i in range(150)})[0]
    assert (len(long.rows), long.note) == (100, "and 50 more rows")


def test_many_runs_are_rows_of_the_differences():
    records = {
        f"run {seed}": RunRecord(epath.Path("x"), {"preset": "a", "config": {"seed": seed, "width": 1}})
        for seed in range(6)
    }
    table = differences_table(records)
    assert table.columns == ["setting", "seed"]
    assert table.rows[5] == ["run 5", "5"]
