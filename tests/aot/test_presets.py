"""docs/planning.md has every preset for TPUs, on the slice that its experiment names, and each fits there."""

import ast
import importlib
import json
import re
from pathlib import Path

from benchmarks import plans

ROOT = Path(__file__).parents[2]


def documents():
    for file in sorted(ROOT.glob("experiments/[!_]*.py")):
        yield f"experiments.{file.stem}", ast.get_docstring(ast.parse(file.read_text())) or ""


def test_a_slice_is_read_from_a_docstring():
    document = "A paper.\n\nOn TPUs: small, medium on v5e:4x4; xl on v5p:4x4x4 (docs/planning.md)."
    assert list(plans.slices(document)) == [("small", "v5e:4x4"), ("medium", "v5e:4x4"), ("xl", "v5p:4x4x4")]


def test_every_preset_that_a_docstring_runs_on_a_pod_has_a_slice():
    for module, document in documents():
        named = dict(plans.slices(document))
        assert set(named) <= set(importlib.import_module(module).PRESETS), module
        commands = re.findall(rf"python -m {re.escape(module)} (\w+) .*gs://", document)
        assert set(commands) <= set(named), module


def test_the_table_has_these_presets_on_these_slices_and_each_fits():
    found = plans.read_plans()
    assert [*found] == plans.pod_presets(), (
        "some presets have no plan: tests/parity/run.sh python -m benchmarks.plans"
    )
    assert len(found) == len(json.loads(plans.PLANS.read_text())), (
        "a plan is of no preset, or of another slice"
    )
    assert [one for one, plan in found.items() if not plan["fits"]] == []
    table = plans.PAGE.read_text().split(plans.MARKS[0])[1].split(plans.MARKS[1])[0]
    assert table.strip().splitlines()[2:] == [plans.row(one, found[one]) for one in plans.pod_presets()]
