"""Log-likelihoods of held-out images in nats an image: means with their errors, and baselines without a network."""

from typing import NamedTuple

import numpy as np

from ssl_jax.evals.reconstruction import fit_pca
from ssl_jax.losses.variational import bits_per_dim


class LogLikelihood(NamedTuple):
    """A mean over images.

    Attributes:
      nats: of an image.
      standard_error: of `nats`, over the images.
      bits_per_dim: minus the log-likelihood in bits a dimension.
    """

    nats: float
    standard_error: float
    bits_per_dim: float


def mean_log_likelihood(nats: np.ndarray, *, dims: int, levels: int) -> LogLikelihood:
    """The mean of log-likelihoods.

    Args:
      nats: float64 `[images]`.
      dims: dimensions of an image, pixels times channels.
      levels: see `ssl_jax.losses.variational.bits_per_dim`.
    """
    error = nats.std(ddof=1) / np.sqrt(len(nats)) if len(nats) > 1 else 0.0
    mean = nats.mean()
    return LogLikelihood(float(mean), float(error), float(bits_per_dim(-mean, dims, levels=levels)))


def independent_pixels(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Log-likelihoods of black and white images if every pixel is drawn by itself, with its own frequency.

    A pixel that is never white in training counts as one that was once half white (Jeffreys' prior).

    Args:
      train: float32 `[images, pixels]`, 0 and 1, or greys, which are the probabilities of white.
      test: float32 `[tests, pixels]`, 0 and 1.

    Returns:
      float64 `[tests]`.
    """
    white = (train.sum(0, dtype=np.float64) + 0.5) / (len(train) + 1)
    pixels = test.astype(np.float64)
    return pixels @ np.log(white) + (1 - pixels) @ np.log1p(-white)


def probabilistic_pca(train: np.ndarray, test: np.ndarray, components: int, *, seed: int = 0) -> np.ndarray:
    """Log densities of images under probabilistic PCA (Tipping & Bishop 1999), the best linear Gaussian autoencoder.

    It is a normal distribution with as many free directions as there are components, and one variance for all others.
    The density is exact, not a bound.

    Args:
      train: float32 `[images, pixels]`.
      test: float32 `[tests, pixels]`.
      components: how many; fewer where there are too few images or pixels.
      seed: see `fit_pca`.

    Returns:
      float64 `[tests]`.
    """
    (images, pixels), train = train.shape, train.astype(np.float64)
    # A direction must be left over, or the rest has no variance.
    most = max(0, min(components, images - 2, pixels - 1))
    pca = fit_pca(train, max(most, 1), seed=seed)
    mean, directions = train.mean(0), pca.directions[:most].astype(np.float64)
    variances = ((train - mean) @ directions.T).var(0, ddof=1)
    rest = (train.var(0, ddof=1).sum() - variances.sum()) / (pixels - most)
    centred = test - mean
    codes = centred @ directions.T
    left = np.square(centred).sum(-1) - np.square(codes).sum(-1)
    log_determinant = np.log(variances).sum() + (pixels - most) * np.log(rest)
    distance = (np.square(codes) / variances).sum(-1) + left / rest
    return -(pixels * np.log(2 * np.pi) + log_determinant + distance) / 2
