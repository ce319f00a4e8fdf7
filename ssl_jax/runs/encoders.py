"""The encoder in the configuration of a fine-tuning run: which run or folder of weights it is from, and its sizes.

A configuration that takes a pretrained BERT says so with `encoder_of`: the field with the configuration of its
pretraining, whose `model` are the sizes. Where `--init_from` names another source, the sizes are those of the source;
the run folder then keeps them in encoder.json, as it keeps the tokenizer.

    encoder_of: ClassVar[str] = "bert"
"""

import dataclasses

from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.files import read_json, write_json
from ssl_jax.hub.bert import load_bert
from ssl_jax.models.bert import BertConfig
from ssl_jax.runs.configuration import Config, read_run, restore_config
from ssl_jax.training.changes import flatten
from ssl_jax.training.folder import CONFIG, ENCODER

MODULES = ("encoder",)
"""What is taken of a pretrained model. Its heads belong to its own tasks and labels."""


def encoder_config(config: Config) -> BertConfig | None:
    """The sizes of the encoder that a configuration takes from elsewhere; None if it takes none."""
    name = getattr(config, "encoder_of", None)
    return getattr(config, name).model if name else None


def with_encoder(config: Config, model: BertConfig) -> Config:
    """The configuration with an encoder of other sizes."""
    name = config.encoder_of
    pretraining = getattr(config, name)
    return dataclasses.replace(config, **{name: dataclasses.replace(pretraining, model=model)})


def refuse_pretraining(config: Config, preset: Config) -> None:
    """Raises UserError if settings of the pretraining are given to a run that takes another encoder, by `--init_from`.

    Args:
      config: as the user gave it.
      preset: what it began with.
    """
    name = getattr(config, "encoder_of", None)
    if name is None:
        return
    given, usual = (flatten({name: dataclasses.asdict(getattr(each, name))}) for each in (config, preset))
    if changed := [field for field in given if given[field] != usual.get(field)]:
        raise UserError(
            f"--{changed[0]} {given[changed[0]]}: with --init_from, the encoder has the sizes, the tokenizer and the "
            f"weights of the source, and no other is trained. Leave out {', '.join(f'--{field}' for field in changed)}."
        )


def with_own_encoder(config: Config, folder: epath.Path, *, required: bool = False) -> Config:
    """The configuration of a run with the sizes of the encoder in its own folder, if it has some.

    Args:
      config: of the run.
      folder: of the run.
      required: whether the folder must have them, as that of a run that has started from a source.

    Raises:
      UserError: they are required and not there, or cannot be read.
    """
    file = folder / ENCODER
    if encoder_config(config) is None or not (required or file.exists()):
        return config
    absent = f"{folder}: has no {ENCODER}, which has the sizes of its encoder. Bring the whole run folder."
    values = read_json(file, dict, absent)
    return with_encoder(config, restore_config(BertConfig(), values, file))


def save_encoder(model: BertConfig, folder: epath.Path) -> None:
    """Writes the sizes of the encoder into a run folder."""
    write_json(folder / ENCODER, dataclasses.asdict(model))


def read_encoder(folder: epath.Path, source: str, option: str = "--init_from") -> BertConfig:
    """The sizes of the encoder of a run, or of a folder of weights. Whether it has a pooler depends on the new head.

    Args:
      folder: of the run or the weights.
      source: how the user named it, for messages.
      option: with which the user named it, for messages.

    Raises:
      UserError: it has no BERT encoder.
    """
    if not (folder / "checkpoints").exists():
        if not folder.exists():
            raise UserError(
                f"{option} {source}: no such folder; expected a run, or a folder of BERT weights."
            )
        return dataclasses.replace(load_bert(folder)[0], pooler=True)
    saved = read_run(folder)
    own = with_own_encoder(saved.config, folder)
    model = encoder_config(own) or getattr(own, "model", None)
    if not isinstance(model, BertConfig):
        raise UserError(
            f"{option} {source}: a run of {saved.settings['experiment']}, which has no BERT encoder (see "
            f"{folder / CONFIG}); expected a run of experiments.bert, of experiments.albert or of fine-tuning."
        )
    return dataclasses.replace(model, pooler=True)


def describe_encoder(model: BertConfig) -> str:
    """Its sizes, for the log."""
    return f"{model.layers} layers of width {model.width}, {model.positions} positions, {model.vocab_size} pieces"
