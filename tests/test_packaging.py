"""What pyproject.toml says of the package fits its files, and the command `ssl_jax` runs commands and experiments."""

import ast
import fnmatch
import importlib
import sys
import tomllib
from pathlib import Path

import pytest

import ssl_jax
from ssl_jax import __main__ as commands

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("ssl_jax", "experiments")


def files(package):
    return [
        file for file in (ROOT / package).rglob("*") if file.is_file() and "__pycache__" not in file.parts
    ]


def test_every_file_is_installed():
    settings = PROJECT["tool"]["setuptools"]
    assert settings["packages"]["find"]["include"] == [f"{package}*" for package in PACKAGES]
    for package in PACKAGES:
        patterns = settings["package-data"][package]
        for file in files(package):
            assert (file.parent / "__init__.py").exists(), f"{file.parent} is no package and is not installed"
            name = str(file.relative_to(ROOT / package))
            known = file.suffix == ".py" or any(
                fnmatch.fnmatch(name, pattern.replace("**/", "*")) for pattern in patterns
            )
            assert known, f"{file} is not in package-data of pyproject.toml"
        assert (ROOT / package / "py.typed").exists()


def test_version_requirements_and_license():
    assert PROJECT["tool"]["setuptools"]["dynamic"] == {
        "version": {"attr": "ssl_jax.__version__"},
        "dependencies": {"file": ["requirements.txt"]},
    }
    (version,) = (
        node.value.value
        for node in ast.parse((ROOT / "ssl_jax" / "__init__.py").read_text()).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "__version__"
    )
    assert version == ssl_jax.__version__  # a constant, which is read without importing the package
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in (ROOT / PROJECT["project"]["license-files"][0]).read_text()


def test_the_command_runs_commands_and_experiments(monkeypatch, capsys):
    module, _, name = PROJECT["project"]["scripts"]["ssl_jax"].partition(":")
    command = getattr(importlib.import_module(module), name)
    for words, code, message in (
        (["minimal", "--help"], 0, "usage: python -m experiments.minimal [PRESET]"),
        (["predict", "--help"], 0, "usage: python -m ssl_jax.predict"),
        (["predcit"], 2, "predcit: no command or experiment has this name. Did you mean predict?"),
    ):
        monkeypatch.setattr(sys, "argv", ["ssl_jax", *words])
        with monkeypatch.context() as anew:
            for module in ("experiments.minimal", "ssl_jax.predict"):
                anew.delitem(sys.modules, module, raising=False)  # runpy imports it itself
            with pytest.raises(SystemExit) as ended:
                command()
        out, err = capsys.readouterr()
        assert ended.value.code == code
        assert message in out + err
    assert commands.find_module("bert") == "experiments.bert"
