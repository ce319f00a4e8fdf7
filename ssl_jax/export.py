"""Writes a model for other libraries: a transformer with its tokenizer for transformers, a ResNet for torchvision.

    python -m ssl_jax.export runs/sequence_classification-tiny exported/sections
    python -m ssl_jax.export runs/bert-tiny@1000 exported/bert
    python -m ssl_jax.export runs/gpt2-tiny exported/gpt2
    python -m ssl_jax.export runs/simclr-digits exported/simclr

RUN is a run folder of bert, albert, multilingual_bert, gpt2, bart, mass, t5, wav2vec2, hubert, fine-tuning or views of
images (RUN@STEP for another checkpoint than the newest). FOLDER is a new one, local or gs://. Transformers are in
Hugging Face's layout. A fine-tuned model is read there by the class of its task, with the names of its labels; a
pretrained one by AutoModel, a BERT or ALBERT also by AutoModelForPreTraining (AutoModelForMaskedLM without a task on
pairs), a GPT-2 by AutoModelForCausalLM, a BART, MASS or T5 by AutoModelForSeq2SeqLM, a wav2vec 2.0 by
AutoModelForPreTraining. A BART or MASS with `--model.norm pre` has the type of mBART. A BERT with rotary positions, as
in the small presets, has that of RoFormer, without the pooler of the task on pairs:

    tokenizer = AutoTokenizer.from_pretrained("exported/sections")
    model = AutoModelForSequenceClassification.from_pretrained("exported/sections")

`--init_from FOLDER` and `ssl_jax.load` read transformers of text here. A MASS becomes a BART: its decoder counts
positions from the first one, as fine-tuning wants it, and no longer from the fragment of its pretraining. The encoder
of a run on views of images has the names of torchvision; ssl_jax/hub/resnet.py says how it is loaded there.
"""

import sys
from dataclasses import dataclass
from typing import Annotated, TextIO

import jax
import tyro
from etils import epath

from ssl_jax.cli import read_arguments
from ssl_jax.data.tokenizer_files import find_tokenizer
from ssl_jax.domains import NonEmptyText, Settings
from ssl_jax.errors import UserError
from ssl_jax.files import whole_folder
from ssl_jax.guard import guarded
from ssl_jax.runs.opening import open_run
from ssl_jax.runs.reference import RunReference


@dataclass(frozen=True)
class Arguments(Settings):
    """What is written, and where."""

    run: Annotated[NonEmptyText, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """RUN or RUN@STEP."""
    folder: Annotated[NonEmptyText, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """The folder to write."""


def export(run: str, folder: epath.Path) -> RunReference:
    """Writes the model of a run, and its tokenizer if it reads text, all files or none.

    Args:
      run: RUN or RUN@STEP.
      folder: a new one, or one that has these very files.

    Returns:
      The run and the step of the checkpoint.

    Raises:
      UserError: it is not a run folder, has no such checkpoint, or has a model that the layout does not support; the
        folder has other files, or cannot be written.
    """
    opened = open_run(RunReference.parse(run))
    write, tokenizer = opened.experiment.export, find_tokenizer(opened.folder)
    if write is None:
        raise UserError(
            f"{opened.folder}: a model of {opened.settings['experiment']} cannot be exported; expected a run of "
            "experiments.bert, albert, multilingual_bert, gpt2, bart, mass, t5, wav2vec2 or hubert, of fine-tuning, or "
            f"of views of images. {opened.experiment.not_exported}".rstrip()
        )
    with whole_folder(folder) as draft:
        write(draft, jax.device_get(opened.restore()), tokenizer and tokenizer.open())
    return RunReference(opened.folder, opened.step)


def main(arguments: list[str], out: TextIO) -> int:
    """Writes what the command line asks for. Returns the exit code."""
    chosen = read_arguments(Arguments, arguments, prog="python -m ssl_jax.export", description=__doc__)
    folder = epath.Path(chosen.folder).expanduser()
    source = export(chosen.run, folder)
    out.write(f"{source} is in {folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:], sys.stdout)))
