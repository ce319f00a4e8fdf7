"""A real TFDS data set, written as ArrayRecord by a builder and read back through `tfds.data_source`."""

import re

import pytest
import tensorflow_datasets as tfds

from ssl_jax.data.sources import open_source
from ssl_jax.data.tfds_text import paragraphs
from ssl_jax.errors import UserError

ARTICLE = (
    "\n_START_ARTICLE_\nA title\n_START_PARAGRAPH_\nFirst one. Second one._NEWLINE_Third one.\n_START_SECTION_\n"
    "A header\n_START_PARAGRAPH_\nFourth, by Dr. Who."
)


class TinyWiki(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="en"), tfds.core.BuilderConfig(name="labels")]  # noqa: RUF012

    def _info(self):
        field = "text" if self.builder_config.name == "en" else "label"
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict({field: tfds.features.Text()})
        )

    def _split_generators(self, _):
        return {"train": self._generate_examples(20), "validation": self._generate_examples(3)}

    def _generate_examples(self, count):
        for i in range(count):
            text = f"Document {i} begins. It ends." if i else ARTICLE
            yield str(i), {next(iter(self.info.features)): text}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    for config in ("en", "labels"):
        TinyWiki(data_dir=folder, config=config, file_format="array_record").download_and_prepare()
    return folder


@pytest.fixture
def folder(prepared, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(prepared))
    return prepared


def test_reads_documents_at_random(folder):
    assert list(folder.rglob("*.array_record*"))
    source = open_source("tfds:tiny_wiki/en")
    documents = [source[i] for i in range(len(source))]
    expected = [[f"Document {i} begins.", "It ends."] for i in range(1, 20)]
    assert sorted(documents) == sorted(
        [["First one.", "Second one.", "Third one.", "Fourth, by Dr. Who."], *expected]
    )
    assert source[7] == documents[7]
    verbatim = open_source("tfds:tiny_wiki/en", "verbatim")
    assert ARTICLE in ["".join(verbatim[i]) for i in range(20)]
    assert verbatim.fingerprint != source.fingerprint


def test_splits_slices_and_versions(folder):
    lengths = {"": 20, ":validation": 3, ":train[:25%]": 5, ":1.0.0": 20, ":1.0.0:validation": 3}
    assert {split: len(open_source(f"tfds:tiny_wiki/en{split}")) for split in lengths} == lengths
    assert len({open_source(f"tfds:tiny_wiki/en{split}").fingerprint for split in lengths}) == 3


def test_a_process_without_the_builder_and_without_tensorflow_reads_it(prepared, in_a_new_process):
    code = (
        "from ssl_jax.data.sources import open_source; import sys; s = open_source('tfds:tiny_wiki/en'); "
        "print(len(s), 'tensorflow' in sys.modules)"
    )
    assert in_a_new_process(code, prepared) == ("20 False\n", "")


@pytest.mark.parametrize("name", ["mnist", "no_such_data", "wiki40b/en"])
def test_what_is_not_prepared_says_how_to_prepare_it(folder, name):
    message = rf"tfds:{name}'.*not prepared.*{re.escape(str(folder))}.*builder\('{name}', file_format='array_record'\)"
    with pytest.raises(UserError, match=message):
        open_source(f"tfds:{name}")


def test_other_mistakes(folder):
    with pytest.raises(UserError, match=r"tfds:tiny_wiki/en:tost'.*split.*tost"):
        open_source("tfds:tiny_wiki/en:tost")
    with pytest.raises(UserError, match="expected a field 'text'; it has label"):
        open_source("tfds:tiny_wiki/labels")
    with pytest.raises(UserError, match=r"train\[:0\]'.*0 length"):
        open_source("tfds:tiny_wiki/en:train[:0]")
    with pytest.raises(UserError, match="tiny_wiki/fr"):
        open_source("tfds:tiny_wiki/fr")


def test_plain_articles_have_blank_lines_between_paragraphs():
    assert paragraphs("One.\n\nTwo.\n \nThree.") == ["One.", "Two.", "Three."]
