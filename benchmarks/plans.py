"""Plans every preset for TPU pods on the slice that its experiment names, and writes the table of docs/planning.md.

    tests/parity/run.sh python -m benchmarks.plans                     # what docs/plans.json lacks
    tests/parity/run.sh python -m benchmarks.plans experiments.gpt2    # anew, the presets of some experiments
    tests/parity/run.sh python -m benchmarks.plans all                 # anew, all: an hour or two on 2 cores

An experiment names the slices of its presets in its docstring: `On TPUs: small, medium on v5e:4x4; xl on v5p:4x4x4`.
docs/plans.json holds the plan of each preset as `python -m ssl_jax.plan ... --json` prints it.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
PLANS = ROOT / "docs" / "plans.json"
PAGE = ROOT / "docs" / "planning.md"
MARKS = ("<!-- plans -->", "<!-- end of plans -->")
GIB = 2**30


class PodPreset(NamedTuple):
    """A preset for TPU pods, and the slice that its experiment names for it."""

    experiment: str
    preset: str
    topology: str


def pod_presets() -> list[PodPreset]:
    """Those of all experiments, by the docstrings."""
    return [
        PodPreset(f"experiments.{file.stem}", *named)
        for file in sorted(ROOT.glob("experiments/[!_]*.py"))
        for named in slices(ast.get_docstring(ast.parse(file.read_text())) or "")
    ]


def slices(document: str) -> Iterator[tuple[str, str]]:
    """(preset, slice) of a docstring's `On TPUs:`."""
    for found in re.findall(r"^On TPUs: (.*?)(?: \(|\.$|\n)", document, re.MULTILINE):
        for part in found.split("; "):
            presets, topology = part.split(" on ")
            yield from ((preset, topology) for preset in presets.split(", "))


def make_plan(one: PodPreset) -> dict[str, Any]:
    """The plan of a preset, by the command in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "ssl_jax.plan",
        one.experiment,
        one.preset,
        "--topology",
        one.topology,
        "--json",
    ]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        raise SystemExit(f"{' '.join(command)} ended with code {done.returncode}")
    return json.loads(done.stdout)


def row(one: PodPreset, plan: dict[str, Any] | None) -> str:
    """A line of the table; the phases, or the runs of a study, stand behind one another."""
    name = f"`{one.experiment.removeprefix('experiments.')} {one.preset}`"
    if plan is None:
        return f"| {name} | {one.topology} | not planned yet |"
    phases = plan["phases"]
    most = {
        program: max(
            (phase["memory"][program]["total"] for phase in phases if program in phase["memory"]), default=0
        )
        for program in ("step", "evaluation")
    }
    steps, shares = [], []
    for phase in phases:
        known = phase["step_seconds"]
        steps.append(f"{1e3 * known['estimate']:,.0f}" if known else "?")
        shares.append(f"{phase['mfu']:.0%}".removesuffix("%") if known else "?")
    hours = [phase["hours"] for phase in phases]
    known = None not in hours
    cells = [
        name,
        one.topology,
        f"{most['step'] / GIB:.1f}",
        f"{most['evaluation'] / GIB:.1f}",
        f"{phases[0]['memory']['step']['available'] / GIB:.2f}",
        "yes" if plan["fits"] else "**no**",
        ", ".join(dict.fromkeys(steps)),
        ", ".join(dict.fromkeys(shares)),
        _rounded(sum(hours)) if known else "?",
        _rounded(sum(phase["chip_hours"] for phase in phases)) if known else "?",
    ]
    return f"| {' | '.join(cells)} |"


def _rounded(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def read_plans() -> dict[PodPreset, dict[str, Any]]:
    """What docs/plans.json has of the presets on their slices."""
    plans = json.loads(PLANS.read_text()) if PLANS.exists() else []
    made = {PodPreset(plan["experiment"], plan["preset"], plan["topology"]): plan for plan in plans}
    return {one: made[one] for one in pod_presets() if one in made}


def write_plans(plans: dict[PodPreset, dict[str, Any]]) -> None:
    """Writes docs/plans.json, and the table of all presets into docs/planning.md."""
    PLANS.write_text(json.dumps([plans[one] for one in pod_presets() if one in plans], indent=1) + "\n")
    head = (
        "| preset | slice | step GiB | evaluation GiB | of | fits | ms a step | MFU % | hours | chip-hours |"
    )
    lines = [head, 10 * "|---" + "|", *(row(one, plans.get(one)) for one in pod_presets())]
    before, rest = PAGE.read_text().split(MARKS[0])
    _, after = rest.split(MARKS[1])
    PAGE.write_text(before + "\n".join([MARKS[0], *lines, MARKS[1]]) + after)


def main(arguments: list[str]) -> None:
    """Plans the presets of the named experiments, and those that have no plan yet if none is named."""
    plans = read_plans()
    for one in pod_presets():
        if one in plans if not arguments else one.experiment not in arguments and arguments != ["all"]:
            continue
        print(f"{one.experiment} {one.preset} on {one.topology}", file=sys.stderr)
        plans[one] = make_plan(one)
        write_plans(plans)
    write_plans(plans)


if __name__ == "__main__":
    main(sys.argv[1:])
