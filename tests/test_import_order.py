"""The order of the packages: every module imports only from its own package and from those before it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (
    (
        "ssl_jax.bucket",
        "ssl_jax.bucket_path",
        "ssl_jax.errors",
        "ssl_jax.domains",
        "ssl_jax.files",
        "ssl_jax.interruptible",
        "ssl_jax.memory",
        "ssl_jax.method",
        "ssl_jax.output",
        "ssl_jax.placement",
    ),
    ("ssl_jax.ops",),
    ("ssl_jax.models",),
    ("ssl_jax.losses",),
    ("ssl_jax.transforms",),
    ("ssl_jax.data",),
    ("ssl_jax.decoding",),
    ("ssl_jax.hub",),
    ("ssl_jax.methods",),
    ("ssl_jax.evals",),
    ("ssl_jax.training",),
    ("ssl_jax.runs",),
    ("ssl_jax.reports",),
    ("ssl_jax.recipes",),
    ("ssl_jax.trained_model",),
    ("ssl_jax.guard", "ssl_jax.other_names", "ssl_jax.short_help"),
    ("ssl_jax.cli",),
    (
        "ssl_jax.check",
        "ssl_jax.plan",
        "ssl_jax.prepare",
        "ssl_jax.replay",
        "ssl_jax.report",
        "ssl_jax.generate",
        "ssl_jax.linear_eval",
        "ssl_jax.few_shot",
        "ssl_jax.export",
        "ssl_jax.predict",
        "ssl_jax.embed",
        "ssl_jax.convert",
        "ssl_jax.__main__",
    ),
    ("experiments",),
)
"""The packages, each of which imports only from those before it."""

FORBIDDEN = {
    "ssl_jax.losses": ("flax", "ssl_jax.models"),
    "ssl_jax.models": ("optax", "ssl_jax.losses"),
    "ssl_jax.training": ("flax", "ssl_jax.models", "ssl_jax.decoding", "ssl_jax.methods", "ssl_jax.hub"),
}
"""What a package must not import although it comes later in the order."""

ONLY = {
    "ssl_jax.errors": (),
    "ssl_jax.method": ("collections", "typing", "jax", "ssl_jax.errors"),
    "ssl_jax.placement": ("jax",),
    "ssl_jax.losses": (
        "collections",
        "typing",
        "dataclasses",
        "functools",
        "jax",
        "optax",
        "numpy",
        "ssl_jax",
    ),
}
"""All that some packages may import."""


def modules() -> list[Path]:
    return sorted([*ROOT.glob("ssl_jax/**/*.py"), *ROOT.glob("experiments/**/*.py")])


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of everything imported, inside functions too; for `from a import b` both a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def layer(name: str) -> int | None:
    """The place of a module in the order; None for other libraries and for `ssl_jax` itself."""
    return next(
        (i for i, packages in enumerate(LAYERS) if any(inside(name, package) for package in packages)), None
    )


def violations(name: str, source: str) -> list[str]:
    """What a module imports and should not."""
    found, own = [], layer(name)
    for imported in imports(ast.parse(source)):
        above = layer(imported)
        if above is not None and above > own:
            found.append(f"{imported} comes later in the order")
        for package, names in FORBIDDEN.items():
            found += [imported for n in names if inside(name, package) and inside(imported, n)]
        for package, names in ONLY.items():
            if inside(name, package) and not any(inside(imported, n) for n in names):
                found.append(imported)
    return found


@pytest.mark.parametrize("file", modules(), ids=module_name)
def test_imports_only_from_earlier_layers(file: Path) -> None:
    name = module_name(file)
    assert layer(name) is not None or file.name == "__init__.py", f"{name} is in no layer; add it to LAYERS"
    if layer(name) is not None:
        assert violations(name, file.read_text()) == []


LATE = ("matplotlib", "scipy.stats")
"""What takes a second to import: functions import it when they need it, so that commands say soon what they do."""


def imported_at_once(source: str) -> list[str]:
    """Of `LATE`, what a module imports when it is imported itself; types alone are not."""
    statements = [
        s
        for s in ast.parse(source).body
        if not (isinstance(s, ast.If) and "TYPE_CHECKING" in ast.dump(s.test))
    ]
    own = ast.Module([s for s in statements if not isinstance(s, ast.FunctionDef | ast.ClassDef)], [])
    return [name for name in imports(own) if any(inside(name, late) for late in LATE)]


def test_what_takes_a_second_to_import_is_imported_late() -> None:
    assert {
        module_name(file): found for file in modules() if (found := imported_at_once(file.read_text()))
    } == {}
    assert imported_at_once("from matplotlib.figure import Figure")
    assert not imported_at_once("def f():\n    import matplotlib")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("ssl_jax.losses.language", "import flax.linen as nn"),
        ("ssl_jax.losses.language", "from ssl_jax.models import bert"),
        ("ssl_jax.models.bert", "def f():\n    import optax"),
        ("ssl_jax.models.bert", "from ssl_jax.training.sharding import Rules"),
        ("ssl_jax.models.gpt2", "from ssl_jax.decoding.decoder import Decoder"),
        ("ssl_jax.training.loop", "from ssl_jax import methods"),
        ("ssl_jax.training.loop", "from ssl_jax.cli import main"),
        ("ssl_jax.evals.plots", "import ssl_jax.training.metrics"),
        ("ssl_jax.method", "import numpy"),
    ],
)
def test_the_rule_catches(name: str, source: str) -> None:
    assert violations(name, source)
