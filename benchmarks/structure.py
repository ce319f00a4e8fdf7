"""How much of the code a reader has to know, counted in one or more checkouts of the project, side by side.

    python benchmarks/structure.py [ROOT ...] [--verbose]

ROOT is a checkout, by default the one this file is in; --verbose also lists what was counted. To compare with an
earlier commit: `git worktree add /tmp/before COMMIT`, then `python benchmarks/structure.py /tmp/before .`.

The rows are about the code in ssl_jax/ and experiments/:

- Top level: the modules and the packages directly in ssl_jax/.
- `Experiment(...)`: calls of that name.
- `example_weight`: look-ups that ask whether a batch has it, which are `.get("example_weight", ...)`,
  `"example_weight" in batch` and calls of a helper that returns one of these; `batch["example_weight"]` does not ask.
  First the modules of ssl_jax/ with such a look-up, then all look-ups.
- RUN@STEP: regular expressions with an `@`, and string methods that split at one.
- Experiments: non-blank lines of the shortest and of the longest files of experiments/.
- One batch from source to metric: the experiment's file, and every file of which a function runs in any thread between
  the start of the training loop, which opens the data, and the first save, which follows the evaluation. The runs are
  those of RUNS: small models, two steps and one evaluation. A reader who follows the values in a batch can skip the
  files that SKIPPED matches; they are not counted. Files of ssl_jax/ops/ are counted, and shown once more by
  themselves: each computes a plain formula faster, and a reader who knows the formula need not open it.
"""

import argparse
import ast
import functools
import inspect
import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

KEY = "example_weight"
EXTREMES = 3
"""Experiments shown at either end of the list by length."""
SKIPPED = re.compile(
    r"ssl_jax/(cli|errors|placement|files|training/(checkpoints|compiling|distributed|experiment|folder|optimizers"
    r"|paths|profiling|progress|schedules|sharding|state|update_rules|warm_start))\.py"
)
"""The command line, devices, optimisers, the writing of files and the display of progress."""


RUNS = {
    "bert": "--model.vocab_size 80 --model.positions 48 --model.layers 2 --model.width 32 --model.heads 2 "
    "--model.mlp_width 64 --model.dropout 0.1 --model.attention_dropout 0.1 --phases.0.length 48 "
    "--data.source {corpus} --data.heldout_share 0.2 --data.heldout_rows 20 --train.batch_size 8",
    "vqvae": "--network.width 8 --network.residual_width 4 --codebook.codes 8 --codebook.width 4 --codebook.kmeans 2 "
    "--train.batch_size 32 --probe_examples 60",
}
"""Settings of the followed runs, which hold for every checkout."""


def top_level(root: Path) -> list[str]:
    """Names of the modules, and of the packages with a slash, directly in ssl_jax/."""
    modules = [file.stem for file in (root / "ssl_jax").glob("*.py") if not file.stem.startswith("_")]
    packages = [f"{file.parent.name}/" for file in (root / "ssl_jax").glob("*/__init__.py")]
    return sorted(modules) + sorted(packages)


def places(root: Path, wanted: Callable[[ast.AST], bool]) -> list[str]:
    """FILE:LINE of the nodes of the syntax trees of ssl_jax/ and experiments/ that are wanted."""
    return [f"{file.relative_to(root)}:{node.lineno}" for file, node in nodes(root) if wanted(node)]


def nodes(root: Path) -> Iterator[tuple[Path, ast.AST]]:
    """(file, node) for every node of the syntax trees of ssl_jax/ and experiments/."""
    for folder in ("ssl_jax", "experiments"):
        for file in sorted((root / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                yield file, node


def called(node: ast.AST) -> str:
    """The last part of the name that is called: `get` of `batch.get(...)`; empty for other nodes."""
    if not isinstance(node, ast.Call):
        return ""
    return getattr(node.func, "attr", None) or getattr(node.func, "id", "")


def has_text(node: ast.Call, wanted: Callable[[str], bool]) -> bool:
    """Whether an argument of a call is a string constant that is wanted."""
    values = (x.value for x in node.args if isinstance(x, ast.Constant))
    return any(isinstance(value, str) and wanted(value) for value in values)


def asks(node: ast.AST) -> bool:
    """Whether a node asks if a batch has an `example_weight`."""
    if isinstance(node, ast.Compare):
        return isinstance(node.ops[0], ast.In | ast.NotIn) and getattr(node.left, "value", None) == KEY
    return called(node) == "get" and has_text(node, KEY.__eq__)


def is_helper(node: ast.AST) -> bool:
    """Whether a node defines a function that does nothing, after its docstring, but return such a look-up."""
    if not isinstance(node, ast.FunctionDef):
        return False
    first, *others = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
    return isinstance(first, ast.Return) and not others and any(map(asks, ast.walk(first)))


def look_ups(root: Path) -> list[str]:
    """Where the code asks if a batch has an `example_weight`, by itself or through a helper."""
    helpers = {node.name for _, node in nodes(root) if is_helper(node)}
    return places(root, lambda node: asks(node) or called(node) in helpers)


def asking_modules(root: Path) -> list[str]:
    """The modules of ssl_jax/ with a look-up."""
    return sorted({place.split(":")[0] for place in look_ups(root) if place.startswith("ssl_jax/")})


def matches_at(node: ast.AST) -> bool:
    """Whether a node calls a function of `re` with an @ in a pattern."""
    in_re = isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re.")
    return in_re and has_text(node, lambda pattern: "@" in pattern)


def splits_at(node: ast.AST) -> bool:
    """Whether a node splits a string at an @."""
    return called(node) in {"partition", "rpartition", "split", "rsplit"} and has_text(node, "@".__eq__)


def experiment_lengths(root: Path) -> dict[str, str]:
    """The cells of the rows on the shortest and the longest experiments: non-blank lines, and the name."""
    files = [file for file in (root / "experiments").glob("*.py") if not file.stem.startswith("_")]
    lines = {file.stem: file.read_text(encoding="utf-8").splitlines() for file in files}
    lengths = sorted((sum(1 for line in lines[name] if line.strip()), name) for name in lines)
    return {
        f"lines of experiments, {end} {rank}": f"{length} {name}"
        for end, ranked in {"shortest": lengths, "longest": lengths[::-1]}.items()
        for rank, (length, name) in enumerate(ranked[:EXTREMES], 1)
    }


@functools.cache
def files_read(root: Path, case: str) -> list[str]:
    """The files that carry a batch of a case of tests/cases.py from its source to the metrics."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"JAX_PLATFORMS": "cpu", "SSL_JAX_CACHE": f"{folder}/cache"}
        run = subprocess.run(
            [sys.executable, __file__, "--follow", case, folder],
            cwd=root,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        answer = Path(folder) / "files.json"
        if not answer.exists():
            raise SystemExit(f"{root}: the run of {case} did not reach its first save:\n{run.stdout[-3000:]}")
        return json.loads(answer.read_text())


def in_ops(root: Path, case: str) -> list[str]:
    """Those of `files_read` that hold faster programs of plain formulas."""
    return [file for file in files_read(root, case) if file.startswith("ssl_jax/ops/")]


def follow(case: str, folder: Path) -> None:
    """Trains a case in this process, in the root of a checkout, and writes files.json in `folder` at its first save."""
    root = Path.cwd()
    sys.path[0] = str(root)
    module = f"experiments.{case}"
    ours = (f"{root}/ssl_jax/", f"{root}/experiments/")
    files: set[str] = set()

    def enter(frame, event, _):
        code = frame.f_code
        is_function = code.co_flags & inspect.CO_OPTIMIZED  # the bodies of modules and classes are not
        if event != "call" or not is_function or not code.co_filename.startswith(ours):
            return
        file = code.co_filename.removeprefix(f"{root}/")
        if file == "ssl_jax/training/checkpoints.py" and code.co_name == "save":
            read = sorted(file for file in list(files) if not SKIPPED.fullmatch(file))
            (folder / "files.json").write_text(json.dumps(read))
            os._exit(0)
        if not files and file == "ssl_jax/training/loop.py":
            files.add(f"{module.replace('.', '/')}.py")
        if files:
            files.add(file)

    text = folder / "corpus.txt"
    text.write_text("\n\n".join("\n".join(f"Word {i} of {n}." for i in range(10)) for n in range(60)) + "\n")
    # A phase of BERT had its own number of steps in earlier checkouts.
    phased = (
        case == "bert" and "steps: int" in (root / "experiments/bert.py").read_text().split("class Config")[0]
    )
    steps = "--phases.0.steps" if phased else "--steps"
    rhythm = [f"--train.{name} 2" for name in ("eval_every", "save_every", "keep_every")]
    own = [*RUNS[case].format(corpus=text).split(), steps, "2", "--schedule.warmup_steps", "1"]
    own += " ".join(rhythm).split()
    sys.argv = [module, *own, "--workdir", str(folder / "run")]
    threading.setprofile(enter)
    sys.setprofile(enter)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


COUNTS = {
    "modules and packages at the top level of ssl_jax": top_level,
    "Experiment(...) constructions": lambda root: places(root, lambda node: called(node) == "Experiment"),
    "modules of ssl_jax that ask for example_weight": asking_modules,
    "all look-ups that ask for it": look_ups,
    "regular expressions that parse RUN@STEP": lambda root: places(root, matches_at),
    "other splits of it at the @": lambda root: places(root, splits_at),
    "files read to follow a BERT batch": lambda root: files_read(root, "bert"),
    "  of these in ssl_jax/ops": lambda root: in_ops(root, "bert"),
    "files read to follow a VQ-VAE batch": lambda root: files_read(root, "vqvae"),
    "  of those in ssl_jax/ops": lambda root: in_ops(root, "vqvae"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("roots", metavar="ROOT", nargs="*", type=Path, default=[Path(__file__).parents[1]])
    parser.add_argument("--verbose", action="store_true", help="also list what was counted")
    parser.add_argument("--follow", metavar="CASE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.follow:
        follow(arguments.follow, arguments.roots[0])
        raise SystemExit("the run ended without a save")
    roots = [root.resolve() for root in arguments.roots]
    for root in roots:
        if not (root / "ssl_jax").is_dir():
            parser.error(f"{root} is not a checkout of the project: it has no folder ssl_jax.")
    found = [{name: count(root) for name, count in COUNTS.items()} for root in roots]
    columns = [
        {name: str(len(items)) for name, items in counted.items()} | experiment_lengths(root)
        for root, counted in zip(roots, found, strict=True)
    ]
    rows = [["", *map(str, roots)], *([name, *(column[name] for column in columns)] for name in columns[0])]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if arguments.verbose:
        for root, counted in zip(roots, found, strict=True):
            for name, items in counted.items():
                print(f"\n{root}: {name}: {len(items)}", *items, sep="\n  ")


if __name__ == "__main__":
    main()
