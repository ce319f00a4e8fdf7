"""`pydocs`: English text for pretraining offline, from the documentation inside the installed Python packages.

The text is the docstrings of the packages in requirements.txt. They are read from the source files (no package is
imported) and reduced to prose: no code, tables, signatures or markup. A document is the text of a module, of a
function, or of a class and its methods. Repeated paragraphs are removed from all but the first document, because
packages copy parameter descriptions, and held-out text must be new.
"""

import ast
import hashlib
import importlib.util
import inspect
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from etils import epath

from ssl_jax.data import numpydoc, sentences
from ssl_jax.data.cache import cached, default_cache
from ssl_jax.data.docstrings import CODE, paragraphs
from ssl_jax.data.numpydoc import Parameter
from ssl_jax.errors import UserError
from ssl_jax.files import write_whole

# The order matters: of equal paragraphs the first is kept.
# fmt: off
PACKAGES = (
    "numpy", "scipy", "jax", "flax", "optax", "sklearn", "matplotlib", "mpl_toolkits", "orbax", "grain",
    "tensorflow_datasets", "huggingface_hub", "narwhals", "treescope", "rich", "PIL", "fsspec", "joblib",
    "click", "absl", "tyro", "urllib3", "packaging", "pyarrow", "pyparsing", "simple_parsing", "attr",
    "anyio", "dateutil", "psutil", "wrapt", "filelock", "etils", "requests", "opt_einsum",
    "sortedcontainers", "typing_extensions", "tensorboardX", "prometheus_client", "tqdm", "contourpy",
    "threadpoolctl", "markdown_it", "idna", "humanize",
)
# fmt: on
_WITHOUT_PROSE = {"tests", "test", "testing", "_vendor", "_pyinstaller", "_test_module", "_generated"}
_DOCUMENTS, _SECTIONS = "documents.json", "sections.json"
_PARAMETERS, _MARKED, _MODULES = "parameters.json", "marked.json", "modules.json"
_MIN_SENTENCES = 4  # shorter documents leave rows of pairs mostly empty


class Sentence(NamedTuple):
    """A sentence of a document.

    Attributes:
      text: the sentence.
      section: the header of the docstring that it is below; see `docstrings.Paragraph`.
    """

    text: str
    section: str


class Document(NamedTuple):
    """What is read of a module, a function, or a class and its methods.

    Attributes:
      sentences: its prose.
      parameters: for each docstring that describes some in numpydoc's style, these.
      marked: the sentences with code in them, which is marked; see `docstrings.Paragraph`.
      module: the dotted name of the module that it is in.
    """

    sentences: list[Sentence]
    parameters: list[list[Parameter]]
    marked: list[str]
    module: str = ""


class PyDocs:
    """Documents, each a list of sentences, in an order that depends only on the installed packages.

    The first use on a machine reads about 3,000 files, which takes about 20 seconds; later uses read the cache in
    `default_cache()`.

    Raises:
      UserError: none of the packages is installed as source files.
    """

    name = "pydocs"

    def __init__(self):
        data = _read(_DOCUMENTS)
        self._documents: list[list[str]] = json.loads(data)
        self.fingerprint = hashlib.sha256(data).hexdigest()
        if not self._documents:
            raise UserError(
                "data source 'pydocs': no Python source files of the packages in requirements.txt."
            )

    def __len__(self) -> int:
        return len(self._documents)

    def __getitem__(self, index: int) -> list[str]:
        return self._documents[index]

    @cached_property
    def sections(self) -> list[list[str]]:
        """The section of each sentence of every document; see `Sentence`."""
        return json.loads(_read(_SECTIONS))

    @cached_property
    def parameters(self) -> list[list[list[Parameter]]]:
        """The parameters that each docstring of every document describes; see `Document`."""
        documents = json.loads(_read(_PARAMETERS))
        return [
            [[Parameter(*entry) for entry in described] for described in document] for document in documents
        ]

    @cached_property
    def marked(self) -> list[list[str]]:
        """The sentences of every document that have code in them, which is marked; see `Document`."""
        return json.loads(_read(_MARKED))

    @cached_property
    def modules(self) -> list[str]:
        """The module of each document; see `Document`."""
        return json.loads(_read(_MODULES))


def _read(file: str) -> bytes:
    """A file of the cache. Its checksum is right, so it is what `_write` has written."""
    key = cache_key(inspect.getmodule(paragraphs), numpydoc, sentences)
    return cached(
        default_cache() / "pydocs" / key, make=_write, read=lambda folder: (folder / file).read_bytes()
    )


def _write(folder: Path) -> None:
    print("reading the documentation inside the installed packages (once, about 20 seconds)", flush=True)
    documents = read_packages()
    files = {
        _DOCUMENTS: [[sentence.text for sentence in document.sentences] for document in documents],
        _SECTIONS: [[sentence.section for sentence in document.sentences] for document in documents],
        _PARAMETERS: [document.parameters for document in documents],
        _MARKED: [document.marked for document in documents],
        _MODULES: [document.module for document in documents],
    }
    for file, content in files.items():
        write_whole(epath.Path(folder / file), json.dumps(content, ensure_ascii=False))


def read_packages() -> list[Document]:
    """Reads the documentation of all packages."""
    documents, seen = [], set()
    for root in _roots():
        for path in [root] if root.is_file() else _files(root):
            module = ".".join(path.relative_to(root.parent).with_suffix("").parts)
            for docstrings in _definitions(path):
                document = Document([], [], [], module.removesuffix(".__init__"))
                for docstring in docstrings:
                    for text, section, marked in paragraphs(docstring):
                        key = "".join(filter(str.isalpha, text)).lower()
                        if key not in seen:
                            seen.add(key)
                            document.sentences.extend(
                                Sentence(one, section) for one in sentences.split_sentences(text)
                            )
                            parts = sentences.split_sentences(marked)
                            document.marked.extend(one for one in parts if CODE[0] in one and CODE[1] in one)
                    if described := numpydoc.parameters(docstring):
                        document.parameters.append(described)
                if len(document.sentences) >= _MIN_SENTENCES:
                    documents.append(document)
    return documents


def read_docstrings() -> Iterator[str]:
    """Yields every docstring of the packages, in the order in which `read_packages` reads them."""
    for root in _roots():
        for path in [root] if root.is_file() else _files(root):
            for docstrings in _definitions(path):
                yield from docstrings


def cache_key(*readers: ModuleType) -> str:
    """The key of cached text, which changes with the versions of the packages and with the code that reads them.

    Args:
      *readers: modules whose code decides what is read, beside this one.
    """
    installed = sorted({d.name for root in _roots() for d in root.parent.glob("*.dist-info")})
    code = [inspect.getsource(module) for module in (*readers, inspect.getmodule(cache_key))]
    return hashlib.sha256(repr((installed, code)).encode()).hexdigest()[:32]


def _roots() -> list[Path]:
    """Folders (or single files) of the installed packages."""
    roots = []
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None:
            continue
        if spec.submodule_search_locations:
            roots.extend(map(Path, spec.submodule_search_locations))
        elif spec.origin and spec.origin.endswith(".py"):
            roots.append(Path(spec.origin))
    return roots


def _files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if not _WITHOUT_PROSE.intersection(parts) and not path.name.startswith("test_"):
            yield path


def _definitions(path: Path) -> Iterator[list[str]]:
    """Yields the docstrings of the module, then those of each function or class (with its methods) that it defines."""
    try:
        module = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # a template, or code for another version of Python
    yield [ast.get_docstring(module) or ""]
    for statement in module.body:
        yield list(_docstrings(statement))


def _docstrings(statement: ast.stmt) -> Iterator[str]:
    """Yields the docstrings in a statement in source order, including those that calls of `add_newdoc` add."""
    if isinstance(statement, ast.Expr):
        if isinstance(statement.value, ast.Call) and ast.unparse(statement.value.func).endswith("add_newdoc"):
            strings = (
                n.value
                for n in ast.walk(statement)
                if isinstance(n, ast.Constant) and isinstance(n.value, str)
            )
            yield from map(inspect.cleandoc, strings)
        return
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield ast.get_docstring(statement) or ""
    for block in ("body", "orelse"):
        for inner in getattr(statement, block, []):
            yield from _docstrings(inner)
