"""Runs the scripts of references that are single files and import what is not needed here."""

import importlib.util
import sys
import unittest.mock


def load(path):
    """A reference's script as a module; TensorFlow and what else it imports and does not need here are replaced."""
    for name in ("tensorflow", "modeling", "optimization", "matplotlib", "matplotlib.pyplot"):
        sys.modules.setdefault(name, unittest.mock.MagicMock())
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem.replace("-", "_").replace(".", "_"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
