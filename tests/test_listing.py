"""The lists of what there is to run: `python -m experiments` and `python -m ssl_jax`."""

import ast
import dataclasses
import functools
import inspect
import sys
import textwrap
from pathlib import Path

import pytest

import experiments
from ssl_jax import __main__ as commands
from ssl_jax.errors import UserError
from ssl_jax.runs import listing
from tests import processes

NAMES = listing.experiment_names()
FILES = {file.stem for file in (processes.ROOT / "experiments").glob("*.py") if not file.stem.startswith("_")}


@functools.cache
def entries():
    return {name: listing.describe(f"experiments.{name}") for name in sorted(FILES)}


def test_every_module_is_listed_with_presets_and_what_it_is():
    assert {name.removeprefix("experiments.") for name in NAMES} == FILES
    for name, entry in entries().items():
        assert entry.name == name
        assert entry.presets, entry.summary
        assert "offline" in entry.presets.values(), "every experiment has a preset that runs at once"
        assert next(iter(entry.presets.values())) == "offline", "the default preset runs at once"
        assert "arXiv" not in entry.summary
        assert entry.summary[-1] not in ".("


def test_an_entry_has_paper_summary_and_the_data_of_each_preset():
    found = entries()
    bert = found["bert"]
    assert (bert.papers, bert.summary) == (("1810.04805",), "BERT: masked words and next sentences")
    assert bert.presets["longer"] == "offline"
    assert bert.presets["base"] == "tfds:wikipedia/20230601.en"
    assert found["vqvae_prior"].presets["mnist"] == "--vqvae.data.source PATH"
    assert found["discrete_autoencoder"].papers == ("1308.3432", "1611.01144")
    assert {name for name, entry in found.items() if entry.several} >= {"bart_noises", "compression"}
    assert not found["bert"].several


@pytest.mark.parametrize(
    ("line", "summary", "papers"),
    [
        ("A: b (c) and d (E et al. 2018, arXiv:1810.04805).", "A: b (c) and d", ("1810.04805",)),
        ("A (after E 2008, doi:10.1145/1390156).", "A", ()),
        ("A (E 2014, arXiv:1312.6114), in small.", "A, in small", ("1312.6114",)),
        ("A (b).", "A (b)", ()),
        ("An empty line ends it.", "An empty line ends it", ()),
    ],
)
def test_a_summary_is_the_first_line_without_its_citation(line, summary, papers):
    assert listing.read_summary(f"{line}\n\nMore (arXiv:9999.99999).") == (summary, papers)


def test_one_aligned_table():
    lines = listing.list_experiments(["experiments.bert", "experiments.compression", "experiments.minimal"])
    header, *rows = lines
    places = [header.index(title) for title in ("ARXIV", "WHAT", "PRESETS")]
    assert all(row[place - 2 : place].strip() == "" for row in rows for place in places)
    firsts = [row.split()[0] for row in rows if row and row[0] != " "]
    assert firsts == ["bert", "minimal", "STUDY", "compression"]
    assert max(map(len, lines)) <= 125


def test_a_module_that_cannot_be_imported_is_named_and_the_others_are_listed(tmp_path, monkeypatch):
    for name, content in {"broken": "import no_such_library", "plain": "x = 1", "wrong": "1 / 0"}.items():
        (tmp_path / f"{name}.py").write_text(content)
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(tmp_path)])
    assert {"experiments.broken", "experiments.plain", "experiments.wrong"} <= {*listing.experiment_names()}
    names = ["experiments.minimal", "experiments.broken", "experiments.plain", "experiments.wrong"]
    text = " ".join(" ".join(listing.list_experiments(names)).split())
    assert "minimal The smallest experiment" in text
    assert (
        "broken cannot be listed: experiments.broken cannot be imported: No module named 'no_such_library'"
        in text
    )
    assert "plain cannot be listed: experiments.plain is not an experiment: it has no PRESETS" in text
    assert "wrong cannot be listed: division by zero" in text


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        (
            "experiments.brt",
            r"experiments\.brt: there is no such experiment\. Did you mean experiments\.bert\?",
        ),
        ("bert", r"Did you mean experiments\.bert\?"),
        ("experiments.bert.base", r"Did you mean experiments\.bert\?"),
        ("experiments.zzzzzzz", r"experiment\. `python -m experiments` lists all of them\."),
        ("ssl_jax.plan", r"is not an experiment: it has no PRESETS"),
    ],
)
def test_an_unknown_experiment_gets_a_suggestion(name, hint):
    with pytest.raises(UserError, match=hint):
        listing.import_experiment(name)


@pytest.mark.parametrize(
    "name",
    [
        "payload",
        "runs.gift.payload",
        "experiments.gift.payload",
        "runs.bert",
        "experiments.payload",
        "experiments..payload",
        "experiments.__main__",
        "experiments",
        "experiments.bert\n",
        "this",
        "ssl_jax.plan_payload",
        "/payload",
        "",
        "\0",
    ],
)
def test_a_file_names_only_experiments_of_this_installation(name, tmp_path, monkeypatch):
    for module in (
        "payload",
        "runs/bert",
        "runs/gift/payload",
        "experiments/payload",
        "experiments/gift/payload",
    ):
        file = tmp_path / f"{module}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("PRESETS = {}; raise RuntimeError('it was imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded = {*sys.modules} - {"experiments"}
    monkeypatch.delitem(sys.modules, "experiments.__main__", raising=False)
    if name == "experiments":
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match=r"^x/config\.json: names the experiment .* not part of this inst"):
        listing.import_installed(name, "x/config.json")
    assert {*sys.modules} - {"experiments"} <= loaded


def test_experiments_of_another_folder_in_the_path_are_not_imported(tmp_path, monkeypatch):
    """As where a command is started in the folder of a stranger."""
    (tmp_path / "experiments").mkdir()
    for file in ("__init__", "bert"):
        (tmp_path / "experiments" / f"{file}.py").write_text("raise RuntimeError('it was imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.split(".")[0] == "experiments"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(
        UserError, match=r"another folder experiments/ comes before .*Start the command in anot"
    ):
        listing.import_installed("experiments.bert", "x/config.json")


def test_an_experiment_that_has_gone_gets_a_suggestion():
    with pytest.raises(
        UserError, match=r"'experiments\.vqvae_priors'.*Did you mean experiments\.vqvae_prior\?"
    ):
        listing.import_installed("experiments.vqvae_priors", "config.json")
    assert listing.import_installed("experiments.vqvae_prior", "config.json").PRESETS


def test_both_commands_print_the_lists():
    code, out, err = processes.run("experiments", [])
    assert (code, err) == (0, "")
    assert all(f"\n{name} " in out for name in FILES)
    assert "cannot be listed" not in out

    code, out, err = processes.run("ssl_jax", [])
    assert (code, err) == (0, "")
    for name in commands.COMMANDS:
        assert f"\n{name} " in out
    assert all(f"\n{name} " in out for name in FILES)


def test_the_commands_are_the_modules_that_can_be_run():
    files = Path(inspect.getfile(commands)).parent.glob("*.py")
    runnable = {f.stem for f in files if '__name__ == "__main__"' in f.read_text() and f.stem != "__main__"}
    assert set(commands.COMMANDS) == runnable


@functools.cache
def documented(kind):
    """Names of the fields of a dataclass that a docstring follows in its source."""
    names = set()
    for base in kind.__mro__:
        if not dataclasses.is_dataclass(base):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body
        for field, after in zip(body, [*body[1:], None], strict=True):
            text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if isinstance(field, ast.AnnAssign) and text and isinstance(after.value.value, str):
                names.add(field.target.id)
    return names


def undocumented(config):
    """CLASS.FIELD of all fields, at any depth, that `--help` has no words for; a section may do without."""
    for field in dataclasses.fields(config):
        values = getattr(config, field.name)
        values = values if isinstance(values, tuple) else (values,)
        sections = [value for value in values if dataclasses.is_dataclass(value)]
        for section in sections:
            yield from undocumented(section)
        if not sections and field.name not in documented(type(config)):
            yield f"{type(config).__qualname__}.{field.name}"


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_every_experiment_has_a_help_text(name):
    for config in listing.import_experiment(name).PRESETS.values():
        assert not set(undocumented(config))


def test_steps_are_those_of_the_whole_run_in_every_experiment():
    for name in listing.experiment_names():
        module = listing.import_experiment(name)
        for preset, config in module.PRESETS.items() if hasattr(module, "build") else ():
            assert module.build(config).steps == config.steps, f"{name} {preset}"
