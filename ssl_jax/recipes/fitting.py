"""Settings that follow from the images of a user, where a preset for the embedded digits is given other images."""

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any

from ssl_jax.data.image_summary import median_size, original_sizes
from ssl_jax.data.images import ImageConfig, open_images
from ssl_jax.recipes.autoencoders import WholeImageConfig
from ssl_jax.recipes.datasets import DIGITS, hand_over
from ssl_jax.recipes.views import ViewsConfig
from ssl_jax.runs.configuration import restore_config
from ssl_jax.training.changes import flatten

Config = Any

LARGEST = 128
"""Pixels of a canvas that is chosen. `--data.canvas` may be larger."""
LARGER = "mnist"
"""The preset of the same experiment whose network and training suit larger images, in minutes of a laptop's CPU."""
AS_DIGITS = 2 * DIGITS.size
"""Below so many pixels, images are seen by the network of the digits, in their size."""
DIVISOR = 4
"""Of the sizes that are chosen, as the strides of networks want it."""


def fitted_to_images(
    config: Config, given: Collection[str], presets: Mapping[str, Config], preset: str
) -> tuple[Config, list[str]]:
    """The configuration with the canvas, the sizes, the network and the classes for its images; and lines for the log.

    Only a configuration of the embedded digits that was given another source is changed, and only in what the user has
    not given. For images of `AS_DIGITS` pixels and more, settings that are still those of the preset become those of
    the preset `LARGER`; the network then sees 28x28 pixels, or as many as the images have. More pixels stay a choice,
    since they decide how long the run takes.

    The opened images are handed over to the run.

    Args:
      config: of an experiment on images.
      given: names of the fields that the user has given, such as "data.canvas".
      presets: of the experiment.
      preset: that the configuration began with.

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
    lines: list[str] = []
    adopted: dict[str, Any] = {}
    if longest >= AS_DIGITS and LARGER in presets:
        adopted = _differences(config, presets[preset], presets[LARGER], given)
        sides = {name: adopted.pop(name) for name in _seen(config) if name in adopted}
        found |= {name: min(side, longest // DIVISOR * DIVISOR) for name, side in sides.items()}
        if isinstance(config, WholeImageConfig):
            needed = _canvas_of(found.get("size", config.size), config.centre, median_size(sizes))
            found["data.canvas"] = min(found["data.canvas"], needed)
    chosen = {name: value for name, value in found.items() if name not in given}
    if chosen:
        lines.append(f"chosen from the images: {_flags(chosen)}")
    if adopted:
        lines.append(
            f"as in the preset {LARGER}, since they are larger than those of the preset {preset}: {_flags(adopted)}"
        )
    fitted = _with(config, chosen | adopted)
    seen = _seen(fitted)
    if seen and longest > 2 * max(seen.values()):
        side = max(seen.values())
        lines.append(
            f"the network sees {side}x{side} pixels of them; give {' '.join(f'--{name}' for name in seen)} for "
            "more, with a network that suits it"
        )
    hand_over(fitted.data, splits)
    return fitted, lines


def _canvas_of(side: int, centre: float, size: tuple[int, int]) -> int:
    """The canvas on which the middle of an image has as many pixels as the network sees; more would only be carried.

    Args:
      side: of the square that the network sees.
      centre: share of the shorter side that it is cut from.
      size: width and height of the image.
    """
    return math.ceil(side / centre * max(size) / min(size))


def _differences(config: Config, usual: Config, larger: Config, given: Collection[str]) -> dict[str, Any]:
    """The values of another preset, by name, for what is not of the data, not given, and still as in the usual one."""
    now, before, after = (flatten(dataclasses.asdict(each)) for each in (config, usual, larger))
    return {
        name: value
        for name, value in after.items()
        if name in now
        and now[name] == before.get(name) != value
        and name not in given
        and not name.startswith("data.")
    }


def _with(config: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with other values of some fields, by name."""
    settings = dataclasses.asdict(config)
    for name, value in values.items():
        *path, last = name.split(".")
        inside: Any = settings
        for key in path:
            inside = inside[int(key) if isinstance(inside, list | tuple) else key]
        inside[last] = value
    return restore_config(config, settings, "settings that suit the images")


def _flags(values: Mapping[str, Any]) -> str:
    """The values as they would be given on a command line."""
    words = {
        name: " ".join(map(str, value)) if isinstance(value, list | tuple) else value
        for name, value in values.items()
    }
    return " ".join(f"--{name} {word}" for name, word in words.items())


def _seen(config: Config) -> dict[str, int]:
    """Side of the images as the network receives them, by the name of the setting."""
    if isinstance(config, ViewsConfig):
        return {f"views.{number}.size": view.size for number, view in enumerate(config.views)}
    return {"size": config.size} if isinstance(config, WholeImageConfig) else {}
