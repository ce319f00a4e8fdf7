"""Random replacements of masked tokens are tokens of the run's tokenizer, never unused rows of the embedding table."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from experiments import mass
from ssl_jax.data.special_tokens import SENTENCEPIECE
from ssl_jax.methods import bert
from ssl_jax.models.bert import BertConfig
from ssl_jax.transforms.masking import MaskingConfig
from ssl_jax.transforms.mass import FragmentConfig

ROWS, LENGTH, KNOWN, TABLE = 4, 24, 11, 1000
"""The tokenizer has KNOWN tokens, the model a table of TABLE rows."""


def test_of_bert(monkeypatch):
    """What `mask_batch` gives for the arguments that the method passes; the model is not needed."""

    class Masked(Exception):
        pass

    def stop_after(*arguments, **options):
        raise Masked(mask_batch(*arguments, **options).tokens)

    mask_batch = bert.mask_batch
    monkeypatch.setattr(bert, "mask_batch", stop_after)
    method = bert.pretraining(
        BertConfig(vocab_size=TABLE),
        masking=MaskingConfig(rate=0.9, mask_prob=0.0, random_prob=1.0),
        pair_task="none",
        special=SENTENCEPIECE,
    ).method
    batch = {
        "tokens": np.full((ROWS, LENGTH), 7, np.int32),
        "segment_ids": np.ones((ROWS, LENGTH), np.int32),
        "vocab_size": np.full(ROWS, KNOWN, np.int32),
    }
    with pytest.raises(Masked) as masked:
        method.loss({}, {}, batch, jax.random.key(1))
    replaced = np.asarray(masked.value.args[0])
    assert len(np.unique(replaced)) > KNOWN / 2
    assert replaced.max() < KNOWN


def test_of_mass(monkeypatch):
    noises = []
    monkeypatch.setattr(
        mass, "denoising_experiment", lambda config, noise, *rest, **options: noises.append(noise)
    )
    tiny = mass.PRESETS["tiny"]
    mass.build(replace(tiny, noise=FragmentConfig(mask_prob=0.0, random_prob=1.0)))
    batch = {
        "tokens": np.full((ROWS, LENGTH), 7, np.int32),
        "present": np.ones((ROWS, LENGTH), bool),
        "words": np.tile(np.arange(LENGTH, dtype=np.int32), (ROWS, 1)),
        "vocab_size": np.full(ROWS, KNOWN, np.int32),
    }
    replaced = np.asarray(noises[0](jax.random.key(0), batch).source)
    assert len(np.unique(replaced)) > KNOWN / 2
    assert replaced.max() < KNOWN < tiny.model.vocab_size
