"""Discrete codes: quantisers of the last axis of an array.

An array `[..., width]` holds one vector at each place: an image `[batch, height, width, channels]`, a sequence
`[batch, length, channels]` or plain vectors. A quantiser replaces each vector by one of a finite number of vectors, and
numbers it with a code `[...]`. Rounding has no slope, so all quantisers pass the gradient of their output on to their
input ("straight-through", Bengio, Léonard & Courville 2013, arXiv:1308.3432).

- `codebook`, `kmeans`, `state`: the nearest vector of a learnt codebook (VQ-VAE, arXiv:1711.00937).
- `fsq`: finite scalar quantisation (arXiv:2309.15505).
- `lookup_free`: the signs of the channels (MAGVIT-v2, arXiv:2310.05737).
- `stochastic`: bits and classes that are drawn (arXiv:1308.3432, 1611.01144).

The losses are in `ssl_jax.losses.quantization`; `ssl_jax.methods.quantization` puts quantisers and losses together.
"""
