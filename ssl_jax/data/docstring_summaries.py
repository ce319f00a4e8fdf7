"""Summaries of functions and classes: the first sentence of each docstring, and the text that follows it.

A docstring whose first paragraph is one sentence is an article (the sentences after it) with a summary (that sentence).
Paragraphs that an earlier docstring has, in any package, are left out, so that no summary and no sentence of an article
occurs twice.
"""

import hashlib
import inspect
import json
from pathlib import Path

from etils import epath

from ssl_jax.data import docstrings, pydocs, sentences
from ssl_jax.data.cache import cached, default_cache
from ssl_jax.errors import UserError
from ssl_jax.files import write_whole

_FILE = "summaries.json"


class DocstringSummaries:
    """`summaries[i]` is (article, summary); the article is a list of sentences, empty where there is only a summary.

    The first use on a machine reads about 3,000 files, which takes about 20 seconds; later uses read the cache.

    Raises:
      UserError: none of the packages is installed as source files.
    """

    name = "pydocs"

    def __init__(self):
        key = pydocs.cache_key(docstrings, sentences, inspect.getmodule(read_summaries))
        data = cached(
            default_cache() / "summaries" / key,
            make=_write,
            read=lambda folder: (folder / _FILE).read_bytes(),
        )
        self._pairs: list[tuple[list[str], str]] = json.loads(data)
        self.fingerprint = hashlib.sha256(data).hexdigest()
        if not self._pairs:
            raise UserError(
                "data source 'pydocs': no Python source files of the packages in requirements.txt."
            )

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> tuple[list[str], str]:
        return self._pairs[index]


def read_summaries() -> list[tuple[list[str], str]]:
    """Reads the summaries of all packages; see `DocstringSummaries`."""
    pairs, seen = [], set()
    for docstring in pydocs.read_docstrings():
        new = []
        for number, paragraph in enumerate(docstrings.paragraphs(docstring)):
            key = "".join(filter(str.isalpha, paragraph.text)).lower()
            if key not in seen:
                seen.add(key)
                new.append((number, paragraph))
        if not new or new[0][0] or new[0][1].section:
            continue
        first = sentences.split_sentences(new[0][1].text)
        if len(first) == 1:
            article = [one for _, paragraph in new[1:] for one in sentences.split_sentences(paragraph.text)]
            pairs.append((article, first[0]))
    return pairs


def _write(folder: Path) -> None:
    print("reading the docstrings inside the installed packages (once, about 20 seconds)", flush=True)
    write_whole(epath.Path(folder / _FILE), json.dumps(read_summaries(), ensure_ascii=False))
