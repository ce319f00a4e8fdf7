"""The command line of ssl_jax.prepare; tests/prepare runs it with Apache Beam."""

import dataclasses
import io
import shlex
from pathlib import Path

import pytest

from ssl_jax import prepare
from ssl_jax.data.images import ImageSourceConfig
from ssl_jax.data.prepared.beam import options_of
from ssl_jax.data.prepared.image_preparation import ImagePreparation
from ssl_jax.errors import UserError
from ssl_jax.recipes.datasets import IMAGENET

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def asked(monkeypatch) -> list:
    calls = []
    for name in ("prepare_text", "prepare_images"):
        monkeypatch.setattr(prepare, name, lambda *arguments: calls.append(arguments[:2]))
    return calls


def run_the_command_of(guide: str) -> None:
    _, _, rest = (DOCS / guide).read_text().partition(".venv-prepare/bin/python -m ssl_jax.prepare ")
    command = rest.partition("\n\n")[0].replace("\\\n", " ")
    assert prepare.main(shlex.split(command), io.StringIO()) == 0


def test_the_command_of_the_guide(asked):
    run_the_command_of("c4_on_a_pod.md")
    [(what, beam)] = asked
    assert (what.output, what.rows, what.length) == ("gs://BUCKET/c4-gpt2", "next_token", 1024)
    assert what.corpus.source == "gs://BUCKET/c4-en/*.json.gz"
    assert (what.corpus.tokenizer, what.corpus.heldout_share) == ("GPT2/tokenizer.json", 0.0005)
    assert beam == []


def test_the_command_of_the_guide_to_images(asked):
    run_the_command_of("imagenet_on_a_pod.md")
    [(what, beam)] = asked
    read = {field.name: getattr(IMAGENET.data, field.name) for field in dataclasses.fields(ImageSourceConfig)}
    assert what == ImagePreparation("gs://BUCKET/imagenet", ImageSourceConfig(**read), 256)
    assert beam == []


def test_settings_in_messages_are_those_of_this_command(monkeypatch):
    def refuse(*arguments):
        raise UserError("give --data.canvas 3")

    monkeypatch.setattr(prepare, "prepare_images", refuse)
    with pytest.raises(UserError, match=r"^give --canvas 3$"):
        prepare.main(["images", "--output", "o"], io.StringIO())


def test_other_options_are_beams(asked):
    beam = ["--runner", "DataflowRunner", "--region=R"]
    prepare.main(["--output", "o", *beam, "--rows", "pairs"], io.StringIO())
    assert asked[0][0].rows == "pairs"
    assert asked[0][1] == beam
    assert options_of(beam) == beam
    local = options_of(["--direct_num_workers=3"])
    assert local[0] == "--direct_num_workers=3"
    assert "--runner=DirectRunner" in local
    assert sum(option.startswith("--direct_num_workers") for option in local) == 1


def test_text_is_not_prepared_for_a_mistyped_word(asked):
    with pytest.raises(UserError, match="'image': expected 'images', or the options of text"):
        prepare.main(["image", "--output", "o"], io.StringIO())
    assert asked == []


def test_values_have_domains(asked):
    with pytest.raises(UserError, match="length"):
        prepare.main(["--output", "o", "--length", "0"], io.StringIO())
    with pytest.raises(UserError, match="canvas"):
        prepare.main(["images", "--output", "o", "--canvas", "0"], io.StringIO())
    assert asked == []
