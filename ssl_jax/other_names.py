"""What options of other libraries are called here, for users who come with the habits of these."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from ssl_jax.errors import UserError

STEPS = "a run is as long as --steps says: epochs x training examples / --train.batch_size"
BATCH = "--train.batch_size is the number of examples of a step on all devices together"
PARTS = "--train.micro_batches N cuts the batch into N parts; --train.batch_size stays the whole"
DEVICES = "all devices are used; --mesh.fsdp and --mesh.tensor say how"
PRECISION = "the networks have a dtype, such as --model.dtype bfloat16 or --encoder.dtype bfloat16"
AGAIN = "the same command again continues a run; so does --resume RUN"
SHOWN = "TensorBoard's events are always written; --wandb PROJECT is for Weights & Biases"

OTHER_NAMES = {
    **dict.fromkeys(("epochs", "num_epochs", "max_epochs", "num_train_epochs"), STEPS),
    "max_steps": "--steps",
    **dict.fromkeys(("lr", "learning_rate", "base_lr"), "--schedule.learning_rate"),
    "warmup_steps": "--schedule.warmup_steps",
    "warmup_ratio": "--schedule.warmup_share",
    "weight_decay": "--optimizer.weight_decay",
    **dict.fromkeys(("optim", "optimizer"), "--optimizer.name"),
    **dict.fromkeys(("max_grad_norm", "gradient_clip_val"), "--optimizer.clip_norm"),
    **dict.fromkeys(("batch_size", "train_batch_size", "per_device_train_batch_size"), BATCH),
    **dict.fromkeys(("gradient_accumulation_steps", "accumulate_grad_batches"), PARTS),
    "seed": "--train.seed",
    "logging_steps": "--train.log_every",
    "eval_steps": "--train.eval_every",
    "save_steps": "--train.save_every",
    "save_total_limit": "--train.keep_latest",
    **dict.fromkeys(("output_dir", "save_dir", "log_dir", "logdir", "default_root_dir"), "--workdir"),
    **dict.fromkeys(("resume_from_checkpoint", "ckpt_path"), AGAIN),
    **dict.fromkeys(("model_name_or_path", "pretrained"), "--init_from"),
    **dict.fromkeys(("dataset", "dataset_name", "train_file", "data_dir", "input_dir"), "--data.source"),
    **dict.fromkeys(("bf16", "fp16", "precision"), PRECISION),
    **dict.fromkeys(("gpus", "devices", "num_nodes", "strategy"), DEVICES),
    **dict.fromkeys(("report_to", "logger"), SHOWN),
}
"""By the name of an option elsewhere: the option here, or a sentence."""


def refuse_other_names(arguments: Sequence[str], own: Sequence[Any]) -> None:
    """Refuses options that have another name here.

    Args:
      arguments: the words of a command line.
      own: dataclasses whose fields are options of the command, which may have any name.

    Raises:
      UserError: an option is one of `OTHER_NAMES`, and none of the command's own.
    """
    fields = {field.name for options in own for field in dataclasses.fields(options)}
    for word in arguments:
        name = word.removeprefix("--").partition("=")[0].replace("-", "_")
        if word.startswith("--") and name in OTHER_NAMES and name not in fields:
            raise UserError(f"--{name} is no option here; instead: {OTHER_NAMES[name]}.")
