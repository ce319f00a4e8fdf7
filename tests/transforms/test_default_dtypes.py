"""Transforms draw the same, of the same dtypes, whatever JAX's default dtypes are (`jax_enable_x64`)."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from ssl_jax.transforms.corruption import corrupt, gaussian, salt_and_pepper
from ssl_jax.transforms.corruption import masking as mask_pixels
from ssl_jax.transforms.images import ViewConfig, random_views
from ssl_jax.transforms.masking import MaskingConfig, mask_batch
from ssl_jax.transforms.mass import FragmentConfig, mask_fragment_batch
from ssl_jax.transforms.noise import NoiseConfig, noise_batch
from ssl_jax.transforms.spans import SpanConfig, corrupt_spans_batch
from tests.transforms.passages import EOS, MASK, PAD, VOCAB, random_rows

ROWS = random_rows(0)
SEGMENTS = ROWS.present.astype(np.int32)


def masking(**settings):
    return lambda key: mask_batch(
        key,
        ROWS.tokens,
        SEGMENTS,
        ROWS.words,
        config=MaskingConfig(**settings),
        mask_id=MASK,
        special_ids=(2, 3),
        vocab_size=VOCAB,
    )


def mass(key):
    return mask_fragment_batch(
        key, *ROWS[:3], config=FragmentConfig(), mask_id=MASK, pad_id=PAD, vocab_size=VOCAB
    )


def noise(**settings):
    return lambda key: noise_batch(
        key,
        *ROWS,
        config=replace(NoiseConfig(permutation=0, infilling=0), **settings),
        mask_id=MASK,
        pad_id=PAD,
        start_id=EOS,
    )


def spans(key):
    return corrupt_spans_batch(
        key,
        *ROWS[:3],
        config=SpanConfig(),
        first_sentinel=VOCAB - 1,
        sentinels=20,
        eos_id=EOS,
        pad_id=PAD,
        start_id=PAD,
    )


def views(channels=3, **settings):
    images = np.random.default_rng(0).integers(0, 256, (16, 12, 12, channels), np.uint8)
    extents = np.array([[12, 12], [9, 12], [12, 5], [8, 8]] * 4, np.int32)
    config = ViewConfig(size=8, **settings)
    return lambda key: random_views(key, images, extents, config)


def corruption(function):
    images = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    return lambda key: corrupt(key, images, lambda rng, image: function(rng, image, 0.4))


EVERY_AUGMENTATION = {
    "blur": 1.0,
    "jitter": 1.0,
    "grayscale": 0.5,
    "solarise": 0.5,
    "translate": 0.2,
    "rotate": 30.0,
}

TRANSFORMS = {
    "mask tokens": masking(),
    "mask tokens independently": masking(count="bernoulli"),
    "mask words": masking(unit="word"),
    "mask n-grams": masking(unit="ngram"),
    "mask a fragment": mass,
    **{
        f"text {name}": noise(**{name: 0.5})
        for name in ("permutation", "masking", "deletion", "infilling", "rotation")
    },
    "corrupt spans": spans,
    "views": views(),
    "views by every augmentation": views(**EVERY_AUGMENTATION),
    "views of gray images": views(1, **EVERY_AUGMENTATION, interpolation="bilinear"),
    "gaussian noise": corruption(gaussian),
    "mask pixels": corruption(mask_pixels),
    "salt and pepper": corruption(salt_and_pepper),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_draws_do_not_depend_on_default_dtypes(name):
    def drawn():
        return jax.device_get(jax.jit(TRANSFORMS[name])(jax.random.key(1)))

    expected = drawn()
    with jax.enable_x64(True):
        found = drawn()
    for one, other in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        assert other.dtype == one.dtype
        np.testing.assert_array_equal(other, one)
