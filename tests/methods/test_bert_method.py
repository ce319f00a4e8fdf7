"""Predictions of BERT for a report."""

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.data.tokenizers import SENTENCEPIECE
from ssl_jax.methods.bert import pretraining
from ssl_jax.models.bert import BertConfig
from ssl_jax.transforms.masking import MaskingConfig


def test_predictions_of_packed_documents_are_those_of_each_alone():
    config = BertConfig(
        vocab_size=20, positions=9, layers=1, width=8, heads=2, mlp_width=8, initializer_stddev=0.5
    )
    tasks = pretraining(config, masking=MaskingConfig(), pair_task="none", special=SENTENCEPIECE)

    def batch(tokens: list[int], documents: list[int]) -> dict[str, jax.Array]:
        starts = np.searchsorted(documents, documents)
        arrays = {"tokens": tokens, "token_type_ids": [0] * len(tokens), "segment_ids": documents}
        arrays["positions"] = np.arange(len(tokens)) - starts
        return {name: jnp.asarray([values], jnp.int32) for name, values in arrays.items()}

    first, second = [7, 8, 9, 10], [11, 12, 13, 14, 15]
    packed = batch(first + second, [1] * 4 + [2] * 5)
    params = tasks.method.init(jax.random.key(0), packed)["params"]
    together = tasks.predict(params, packed, jnp.array([[1, 6]]))
    alone = [
        tasks.predict(params, batch(tokens, [1] * len(tokens)), jnp.array([[place]]))
        for tokens, place in ((first, 1), (second, 2))
    ]
    np.testing.assert_allclose(together, jnp.concatenate(alone, 1), atol=1e-5)
