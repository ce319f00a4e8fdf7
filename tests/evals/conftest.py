"""The corpora of `tests/data`, for baselines that are counted in them."""

from tests.data.conftest import make_corpus

__all__ = ["make_corpus"]
