"""Weights & Biases, where the package `wandb` is installed and a run is started with `--wandb PROJECT`."""

import hashlib
import html
import importlib
import io
from collections.abc import Mapping
from typing import Any

from etils import epath
from PIL import Image

from ssl_jax.errors import UserError


class Wandb:
    """Shows a run in a project of Weights & Biases. The same folder continues the same run there."""

    def __init__(self, project: str, folder: epath.Path, settings: Mapping[str, Any]) -> None:
        """Starts the run there; wandb itself reads the account and the mode (WANDB_MODE=offline) from the environment.

        Args:
          project: its name.
          folder: of the run.
          settings: of the run, as JSON.

        Raises:
          UserError: the package is not installed, or refuses to start.
        """
        try:
            self._wandb = importlib.import_module("wandb")
        except ImportError as error:
            raise UserError(
                f"--wandb {project}: the package wandb cannot be imported ({error}). Install it with pip install "
                "wandb, or leave the option out."
            ) from error
        identity = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
        try:
            self._run = self._wandb.init(
                project=project, name=folder.name, id=identity, resume="allow", config=dict(settings)
            )
        except Exception as error:  # of the account, the network or the name of the project
            raise UserError(f"--wandb {project}: {error}") from error
        # wandb drops what is logged of steps before its newest; a run that was killed logs some of them again.
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._run.log({"step": step, **{f"{split}/{name}": value for name, value in values.items()}})

    def picture(self, step: int, name: str, png: bytes, size: tuple[int, int]) -> None:
        """See `Tracker`."""
        self._run.log({"step": step, name: self._wandb.Image(Image.open(io.BytesIO(png)))})

    def text(self, step: int, name: str, text: str) -> None:
        """See `Tracker`."""
        self._run.log({"step": step, name: self._wandb.Html(f"<pre>{html.escape(text)}</pre>")})

    def flush(self) -> None:
        """See `Tracker`. wandb sends in the background."""

    def close(self) -> None:
        """See `Tracker`."""
        self._run.finish()
