"""Pictures of features of speech over time."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ssl_jax.evals.plots import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOP_SECONDS = 0.010


def draw_spectrograms(
    utterances: Sequence[Mapping[str, np.ndarray]], *, names: Sequence[str], title: str
) -> "Figure":
    """A row for each kind of picture, a column for each utterance; all of a column have one scale of colours.

    Args:
      utterances: by kind, features `[frames, filters]` of the true frames.
      names: of the utterances.
      title: at the top.
    """
    kinds = [*utterances[0]]
    figure = new_figure((3.2 * len(utterances), 1.7 * len(kinds) + 0.6), layout="constrained")
    axes = figure.subplots(len(kinds), len(utterances), squeeze=False, sharex="col")
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    for column, (utterance, name) in enumerate(zip(utterances, names, strict=True)):
        scale = utterance[kinds[0]]
        low, high = np.quantile(scale, 0.01), np.quantile(scale, 0.99)
        for row, kind in enumerate(kinds):
            picture, place = utterance[kind], axes[row][column]
            extent = (0, len(picture) * HOP_SECONDS, 0, picture.shape[1])
            place.imshow(
                picture.T, origin="lower", aspect="auto", extent=extent, vmin=low, vmax=high, cmap="magma"
            )
            place.set_title(f"{name}: {kind}" if row == 0 else kind, fontsize=8, loc="left")
            place.tick_params(labelsize=7)
            if column == 0:
                place.set_ylabel("mel filter", fontsize=8)
        axes[-1][column].set_xlabel("seconds", fontsize=8)
    return figure
