"""The command line of ssl_jax.prepare; tests/prepare runs it with Apache Beam."""

import io
import shlex
from pathlib import Path

import pytest

from ssl_jax import prepare
from ssl_jax.data.prepared.beam import options_of
from ssl_jax.errors import UserError

GUIDE = (Path(__file__).parents[1] / "docs" / "c4_on_a_pod.md").read_text()


@pytest.fixture
def asked(monkeypatch) -> list:
    calls = []
    monkeypatch.setattr(prepare, "prepare_text", lambda *arguments: calls.append(arguments[:2]))
    return calls


def test_the_command_of_the_guide(asked):
    _, _, rest = GUIDE.partition(".venv-prepare/bin/python -m ssl_jax.prepare ")
    command = rest.partition("\n\n")[0].replace("\\\n", " ")
    assert prepare.main(shlex.split(command), io.StringIO()) == 0
    [(what, beam)] = asked
    assert (what.output, what.rows, what.length) == ("gs://BUCKET/c4-gpt2", "next_token", 1024)
    assert what.corpus.source == "gs://BUCKET/c4-en/*.json.gz"
    assert (what.corpus.tokenizer, what.corpus.heldout_share) == ("GPT2/tokenizer.json", 0.0005)
    assert beam == []


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


def test_values_have_domains(asked):
    with pytest.raises(UserError, match="length"):
        prepare.main(["--output", "o", "--length", "0"], io.StringIO())
    assert asked == []
