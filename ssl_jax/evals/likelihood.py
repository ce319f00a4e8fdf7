"""Likelihoods of images under models without a network, to measure learned ones by; in nats an image."""

import numpy as np

from ssl_jax.evals.reconstruction import fit_pca


def independent_pixels(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """log p of black and white images if every pixel is drawn by itself, with its own frequency.

    Args:
      train: float32 [images, pixels], 0 and 1, or greys, which are the probabilities of white. test: 0 and 1.

    Returns:
      float64 [tests]. A pixel that is never white in training counts as one that was once half white (Jeffreys' prior).
    """
    white = (train.sum(0, dtype=np.float64) + 0.5) / (len(train) + 1)
    seen = test.astype(np.float64)
    return seen @ np.log(white) + (1 - seen) @ np.log1p(-white)


def probabilistic_pca(train: np.ndarray, test: np.ndarray, components: int, *, seed: int = 0) -> np.ndarray:
    """log density of images under probabilistic PCA (Tipping & Bishop 1999), the best linear Gaussian autoencoder.

    A normal distribution with as many free directions as there are components, and one variance for all others. It is
    exact, not a bound.

    Args:
      train, test: float32 [images, pixels]. components: fewer where there are too few images or pixels.
      seed: as of `fit_pca`.

    Returns:
      float64 [tests].
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
