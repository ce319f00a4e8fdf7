"""Overlapping frames of waveforms."""

import jax
import jax.numpy as jnp


def overlapping_frames(waveform: jax.Array, window: int, hop: int) -> jax.Array:
    """The frames that lie wholly in a waveform, `[batch, frames, window]`.

    Args:
      waveform: `[batch, samples]`.
      window: samples of a frame.
      hop: samples between the beginnings of two frames.
    """
    frames = max(0, (waveform.shape[1] - window) // hop + 1)
    parts = -(-window // hop)
    # Slices of whole hops, side by side, in place of a gather: frame t is the hops t, t + 1, ... of the waveform.
    needed = (frames + parts - 1) * hop
    padded = jnp.pad(waveform, ((0, 0), (0, max(0, needed - waveform.shape[1]))))[:, :needed]
    hops = padded.reshape(len(waveform), -1, hop)
    return jnp.concatenate([hops[:, part : part + frames] for part in range(parts)], -1)[..., :window]
