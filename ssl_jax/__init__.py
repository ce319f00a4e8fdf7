"""Self-supervised learning in JAX: methods as pure functions, and the machinery for TPU pods around them."""

import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssl_jax.trained_model import TrainedModel

__version__ = "0.1.0"


def load(source: str, *, batch_size: int | None = None) -> "TrainedModel":
    """Opens a trained model.

    Args:
      source: RUN, RUN@STEP or RUN@best, a run folder; or a folder of weights in Hugging Face's layout with the files of
        their tokenizer: BERT, ALBERT, RoFormer, GPT-2, BART, mBART or T5.
      batch_size: examples that are computed at once; None for that of the run, 32 for weights.

    Raises:
      UserError: there is no such folder or checkpoint, or it is of a model that is not known here.
    """
    # Here, because every module of this package runs this file first.
    from ssl_jax.runs.models import open_model
    from ssl_jax.trained_model import TrainedModel

    return TrainedModel(open_model(str(source)), batch_size)


def _end(number: int, frame: FrameType | None) -> None:
    """Ends the process at once. An exception would crash an extension module that is just initialising itself."""
    os.write(2, b"ended by SIGINT\n")
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


# `python -m` is about to import one of our commands, which takes seconds; `guard` hears signals only after that.
if (
    sys.argv[:1] == ["-m"]
    and any(word.startswith(("experiments.", "ssl_jax.")) for word in sys.orig_argv)
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, _end)
