"""What tests of codebooks share: small ones, and the nearest of them in NumPy."""

import numpy as np

CODES, WIDTH = 6, 4


def vectors(shape, seed=0):
    return np.random.default_rng(seed).normal(size=(*shape, WIDTH)).astype(np.float32)


def nearest_of_the_paper(book, x):
    """arXiv:1711.00937, equations 1 and 2."""
    distances = np.square(np.float64(x)[..., None, :] - np.float64(book)).sum(-1)
    return distances.argmin(-1)


def counted(book, x):
    """Counts and sums of the vectors of each code."""
    x = np.float64(x).reshape(-1, x.shape[-1])
    hot = np.eye(len(book))[nearest_of_the_paper(book, x)]
    return hot.sum(0), hot.T @ x
