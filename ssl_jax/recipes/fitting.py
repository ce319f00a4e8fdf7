"""Settings that follow from the images of a user, where a preset for the embedded digits is given other images."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from ssl_jax.data.image_summary import median_size, original_sizes
from ssl_jax.data.images import ImageConfig, open_images
from ssl_jax.recipes.autoencoders import WholeImageConfig
from ssl_jax.recipes.datasets import DIGITS
from ssl_jax.recipes.views import ViewsConfig

Config = Any

LARGEST = 128
"""Pixels of a canvas that is chosen. `--data.canvas` may be larger."""


def fitted_to_images(config: Config, given: Collection[str]) -> tuple[Config, list[str]]:
    """The configuration with the canvas, the channels and the classes of its images; and lines for the log.

    Only a configuration of the embedded digits that was given another source is changed, and only in what the user has
    not given. How large the network sees the images stays a choice, since it decides how long the run takes.

    Args:
      config: of an experiment on images.
      given: names of the fields that the user has given, such as "data.canvas".

    Raises:
      UserError: the images cannot be opened.
    """
    data: ImageConfig = config.data
    if data.source == DIGITS.data.source:
        return config, []
    usual = {"data.canvas": DIGITS.data.canvas, "data.channels": DIGITS.data.channels}
    if any(getattr(data, name.removeprefix("data.")) != value for name, value in usual.items()):
        return config, []  # of another preset, or given
    splits = open_images(data)
    sizes = original_sizes(splits.train)
    if not len(sizes):  # none can be read, which is told where they are
        return config, []
    longest = max(median_size(sizes))
    found = {"data.canvas": min(longest, LARGEST), "data.channels": 3 if sizes[:, 2].max() > 1 else 1}
    if isinstance(config, ViewsConfig) and splits.classes and config.classes == DIGITS.classes:
        found["classes"] = len(splits.classes)
    chosen = {name: value for name, value in found.items() if name not in given}
    own = {n.removeprefix("data."): value for n, value in chosen.items() if n.startswith("data.")}
    top = {name: value for name, value in chosen.items() if "." not in name}
    lines = [f"chosen from the images: {' '.join(f'--{name} {value}' for name, value in chosen.items())}"]
    seen = _seen(config)
    if seen and longest > 2 * max(seen.values()):
        flags = " ".join(f"--{name}" for name in seen)
        lines.append(
            f"the network sees only {max(seen.values())}x{max(seen.values())} pixels of them, as the preset says; give "
            f"{flags} for more, with a network that suits it"
        )
    return replace(config, data=replace(data, **own), **top), lines if chosen else lines[1:]


def _seen(config: Config) -> dict[str, int]:
    """Side of the images as the network receives them, by the name of the setting."""
    if isinstance(config, ViewsConfig):
        return {f"views.{number}.size": view.size for number, view in enumerate(config.views)}
    return {"size": config.size} if isinstance(config, WholeImageConfig) else {}
