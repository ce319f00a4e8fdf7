"""Converts a recording into another voice: what one recording says, as the speaker of another one would say it.

    python -m ssl_jax.convert runs/voice_conversion-synthesised source.wav target.wav out.wav
    python -m ssl_jax.convert runs/voice_conversion-synthesised@500 source.flac target.flac out.wav
    python -m ssl_jax.convert runs/adversarial_voice_conversion-synthesised source.wav m03 out.wav    # a speaker's name

RUN is a run folder of experiments.voice_conversion or adversarial_voice_conversion (RUN@STEP for another checkpoint
than the newest). The first converts into the voice of any recording; the second into those of the speakers that it was
trained on, whose names stand in the place of the second recording. Recordings are mixed to one channel and brought to
the rate of the run; the waveform is made of converted log-mel energies by the Griffin-Lim algorithm. The same command
writes the same file.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TextIO

import grain
import jax
import numpy as np
import tyro
from etils import epath

from ssl_jax.cli import read_arguments
from ssl_jax.data.speech_files import Reading, Unsuitable, prepare, read_audio
from ssl_jax.data.wav import write_wav
from ssl_jax.domains import NonEmptyText, Settings
from ssl_jax.errors import UserError
from ssl_jax.files import check_writable
from ssl_jax.guard import guarded
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.methods.voices import Voices
from ssl_jax.runs.opening import DataPlaces, OpenedRun, open_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.training.mapping import batch_of_all_devices, map_examples
from ssl_jax.transforms.griffin_lim import feature_stft, waveform_of_log_mel
from ssl_jax.transforms.speech_features import frames_of


@dataclass(frozen=True)
class Arguments(Settings):
    """What is converted, and where the result goes."""

    run: Annotated[NonEmptyText, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """RUN or RUN@STEP."""
    source: Annotated[NonEmptyText, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """A wav or flac file of what is said."""
    target: Annotated[NonEmptyText, tyro.conf.Positional, tyro.conf.arg(metavar="TARGET")]
    """A wav or flac file of the voice; of a run that knows its speakers, the name of one."""
    output: Annotated[NonEmptyText, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """The wav file to write, 16 bits at the rate of the run. An older one is replaced."""
    data: DataPlaces = field(default_factory=DataPlaces)


def convert(
    run: str, source: str, target: str, out: TextIO, places: DataPlaces | None = None
) -> tuple[np.ndarray, int]:
    """A recording in another voice.

    Args:
      run: RUN or RUN@STEP.
      source: a wav or flac file.
      target: another one, or the name of a speaker of the run.
      out: is told what had to be resampled or mixed.
      places: where the data of the run is now, of which the names of its speakers are read.

    Returns:
      The waveform `[samples]` and its rate.

    Raises:
      UserError: it is not a run folder, has no such checkpoint or does not convert voices; a recording cannot be used;
        the run has no such speaker.
    """
    opened = open_run(RunReference.parse(run), places=places)
    voices: Voices | None = opened.experiment.converter
    if voices is None:
        raise UserError(
            f"{opened.folder}: a run of {opened.settings['experiment']} does not convert voices; expected a run of "
            "experiments.voice_conversion or experiments.adversarial_voice_conversion."
        )
    spoken = _recording(source, opened, out)
    other = _voice(target, opened, voices, out)
    row = {"waveform": spoken, "samples": np.int32(len(spoken)), **other}

    def function(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        log_mel = voices.convert(params, extras, batch)
        frames = frames_of(batch["samples"], voices.rate)
        return waveform_of_log_mel(jax.random.key(0), log_mel, frames, voices.rate)

    dataset = grain.MapDataset.range(1).map(lambda _: row)
    (waveform,) = map_examples(
        function,
        opened.restore(),
        dataset,
        mesh=opened.mesh,
        batch_size=batch_of_all_devices(1, opened.mesh),
    )
    return waveform[: feature_stft(voices.rate).samples(frames_of(len(spoken), voices.rate))], voices.rate


def _voice(target: str, opened: OpenedRun, voices: Voices, out: TextIO) -> dict[str, Any]:
    """The target voice in the form of `ssl_jax.methods.voices`."""
    if voices.voice == "utterance":
        waveform = _recording(target, opened, out)
        return {
            "target": np.int32(0),
            "reference": waveform,
            "reference_samples": np.int32(len(waveform)),
        }
    names = opened.data.details.speech.utterances.speakers
    if target not in names:
        raise UserError(
            f"TARGET {target!r}: {opened.folder} converts into the voices of its own speakers, and has none of this "
            f"name; expected one of {', '.join(names[:30])}{', ...' if len(names) > 30 else ''}."
        )
    silence = np.zeros(opened.config.data.samples, np.float32)
    return {
        "target": np.int32(names.index(target)),
        "reference": silence,
        "reference_samples": np.int32(len(silence)),
    }


def _recording(path: str, opened: OpenedRun, out: TextIO) -> np.ndarray:
    """One channel at the rate of the run, float32 `[samples]`."""
    config = opened.config.data
    try:
        waveform, rate = read_audio(Path(path).expanduser())
        mono = prepare(waveform, rate, Reading(config.rate, config.shortest, "stop"))
    except Unsuitable as problem:
        raise UserError(f"{path!r}: cannot be converted ({problem}); give another recording.") from problem
    if rate != config.rate:
        out.write(f"{path}: resampled from {rate} Hz to {config.rate} Hz, the rate of the run\n")
    if waveform.shape[1] > 1:
        out.write(f"{path}: {waveform.shape[1]} channels mixed to one, by their mean\n")
    return mono.astype(np.float32)


def check_output(output: epath.Path, sources: tuple[str, ...]) -> None:
    """Raises UserError if the file cannot be the result: checked before anything is computed."""
    if output.suffix.lower() != ".wav":
        raise UserError(f"OUTPUT {output}: expected the name of a .wav file.")
    if output.is_dir():
        raise UserError(f"OUTPUT {output}: is a folder; expected the name of a file to write.")
    if any(epath.Path(source).expanduser().resolve() == output.resolve() for source in sources):
        raise UserError(f"OUTPUT {output}: is one of the recordings to read; give another name.")
    check_writable(output)


def main(arguments: list[str], out: TextIO) -> int:
    """Converts what the command line asks for. Returns the exit code."""
    chosen = read_arguments(Arguments, arguments, prog="python -m ssl_jax.convert", description=__doc__)
    output = epath.Path(chosen.output).expanduser()
    check_output(output, (chosen.source, chosen.target))
    waveform, rate = convert(chosen.run, chosen.source, chosen.target, out, chosen.data)
    clipped = write_wav(output, waveform, rate)
    out.write(f"{output}: {len(waveform) / rate:.2f} seconds at {rate} Hz\n")
    if clipped:
        out.write(f"{output}: {clipped:,} samples are beyond full scale and were clipped\n")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:], sys.stdout)))
