"""The model of wav2vec 2.0 (arXiv:2006.11477) and HuBERT (arXiv:2106.07447): convolutions over the waveform, then a
transformer.

Rows are padded at the end. Padding changes nothing: an utterance has the same frames alone and in a padded batch, to
rounding. The convolutions have no padding of their own, so a true frame reads true samples only; frames of padding are
set to 0 before the positional convolution and are no keys of attention; and the group normalisation takes its mean and
variance over true frames. In fairseq and transformers these two include the padding, so the base models there depend on
it; on rows without padding all three are equal.
"""

import dataclasses
from typing import Annotated, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.domains import (
    CodebookSize,
    Dtype,
    Fraction,
    Heads,
    Layers,
    Length,
    PositiveFloat,
    PositiveShare,
    Settings,
    Stddev,
    Width,
    integers,
)
from ssl_jax.errors import UserError
from ssl_jax.models.attention import padding_mask
from ssl_jax.models.layers import Dense, LayerNorm
from ssl_jax.models.quantization.stochastic import gumbel_softmax
from ssl_jax.models.transformer import Layer, Remat, Transformer, TransformerConfig, unstack
from ssl_jax.ops.activations import ACTIVATIONS, Activation
from ssl_jax.ops.dropout import dropout
from ssl_jax.ops.gradients import scale_gradient
from ssl_jax.placement import along_batch

GROUP_EPSILON = 1e-5
"""Of the normalisations inside the feature encoder, PyTorch's default."""


@dataclasses.dataclass(frozen=True)
class FeatureEncoderConfig(Settings):
    """The convolutions over the waveform; the defaults make a frame of 25 ms every 20 ms at 16 kHz."""

    conv_width: Width = 512
    """Channels of all convolutions."""
    kernels: tuple[Length, ...] = (10, 3, 3, 3, 3, 2, 2)
    """Size of each convolution's kernel."""
    strides: tuple[Length, ...] = (5, 2, 2, 2, 2, 2, 2)
    """Stride of each convolution."""
    conv_norm: Literal["group", "layer"] = "group"
    """group: each channel of the first convolution is normalised over time (base); layer: the channels of each frame
    are, after every convolution (large)."""
    conv_bias: bool = False
    """Whether the convolutions have biases (large)."""
    conv_activation: Activation = "gelu"
    """Activation of the convolutions."""
    dtype: Dtype = "float32"
    """Dtype of the computation, float32 or bfloat16; parameters are float32."""

    def check_relations(self) -> None:
        if len(self.kernels) != len(self.strides) or not self.kernels:
            raise UserError(
                f"{len(self.kernels)} kernels and {len(self.strides)} strides: expected as many of both, one or more."
            )

    def frames(self, samples: int | jax.Array) -> int | jax.Array:
        """How many frames `samples` samples give; 0 where they are fewer than one frame reads."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            samples = (samples - kernel) // stride + 1
        return jnp.maximum(samples, 0) if isinstance(samples, jax.Array) else max(samples, 0)

    @property
    def receptive_field(self) -> int:
        """Samples that one frame reads."""
        field = 1
        for kernel, stride in zip(reversed(self.kernels), reversed(self.strides), strict=True):
            field = (field - 1) * stride + kernel
        return field


@dataclasses.dataclass(frozen=True)
class WavConfig(FeatureEncoderConfig):
    """The shape of the model. The defaults are the base size of wav2vec 2.0 and HuBERT."""

    layers: Layers = 12
    """Number of transformer layers."""
    width: Width = 768
    """Width of the residual stream."""
    heads: Heads = 12
    """Number of attention heads; it divides the width."""
    mlp_width: Width = 3072
    """Hidden units of the MLP block."""
    norm: Literal["post", "pre"] = "post"
    """Where layers normalise: post (base) or pre (large)."""
    positional_kernel: Length = 128
    """Frames that the positional convolution reads."""
    positional_groups: Annotated[int, integers(1, 2**12)] = 16
    """Groups of the positional convolution, which divide the width."""
    feature_norm: bool = True
    """Whether the features are normalised before they are projected to `width`."""
    dropout: Fraction = 0.1
    """Dropout rate of the transformer's input and of the output of each block."""
    attention_dropout: Fraction = 0.1
    """Dropout rate of the attention weights."""
    feature_dropout: Fraction = 0.1
    """Dropout rate of the projected features, and of the features that are quantised."""
    activation: Activation = "gelu"
    """Activation of the MLP."""
    norm_epsilon: PositiveFloat = 1e-5
    """Epsilon of the layer normalisations, added to the variance."""
    initializer_stddev: Stddev = 0.02
    """Standard deviation of the truncated normal distribution that initialises kernels."""
    feature_gradient: PositiveShare = 0.1
    """Factor of the gradient that the convolutions get."""
    remat: Remat = "none"
    """What the backward pass recomputes to save memory: none, dots (all but the outputs of dense layers and of
    attention) or full."""

    def check_relations(self) -> None:
        super().check_relations()
        self.transformer.check_relations()
        if self.width % self.positional_groups:
            raise UserError(
                f"a model of width {self.width} cannot have {self.positional_groups} positional groups; their number "
                "must divide the width."
            )

    @property
    def transformer(self) -> TransformerConfig:
        """The layers."""
        return TransformerConfig.of(self)


class WavEncoding(NamedTuple):
    """What the model computes.

    Attributes:
      hidden: `[batch, frames, width]`.
      features: `[batch, frames, conv_width]`, normalised, not masked: of them the targets are made.
      raw_features: `[batch, frames, conv_width]`, before the normalisation: of them the penalty is made.
      lengths: int32 `[batch]`, true frames.
    """

    hidden: jax.Array
    features: jax.Array
    raw_features: jax.Array
    lengths: jax.Array


def present_frames(lengths: jax.Array, frames: int) -> jax.Array:
    """bool `[batch, frames]`: which frames are true, by their numbers `lengths [batch]`."""
    return jnp.arange(frames, dtype=jnp.int32)[None] < lengths[:, None]


class GroupNorm(nn.Module):
    """Each channel divided by its standard deviation over the true frames (a group per channel), in float32."""

    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, lengths: jax.Array) -> jax.Array:
        """`x [batch, frames, channels]`, of which `lengths [batch]` frames are true."""
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], jnp.float32)
        mask = present_frames(lengths, x.shape[1]).astype(jnp.float32)[..., None]
        count = jnp.maximum(lengths, 1).astype(jnp.float32)[:, None, None]
        x = x.astype(jnp.float32)
        mean = (x * mask).sum(1, keepdims=True) / count
        variance = (jnp.square(x - mean) * mask).sum(1, keepdims=True) / count
        x = (x - mean) * jax.lax.rsqrt(variance + GROUP_EPSILON)
        return (x * scale[None, None] + bias[None, None]).astype(self.dtype)


class FeatureEncoder(nn.Module):
    """The convolutions, each with a normalisation, if any, and an activation."""

    config: FeatureEncoderConfig

    @nn.compact
    def __call__(self, waveform: jax.Array, samples: jax.Array) -> tuple[jax.Array, jax.Array]:
        """`waveform [batch, samples]` with `samples [batch]` true ones to `[batch, frames, conv_width]` and lengths."""
        c = self.config
        x, lengths = along_batch(waveform.astype(c.dtype))[..., None], samples
        for i, (size, stride) in enumerate(zip(c.kernels, c.strides, strict=True)):
            shape = (size, x.shape[-1], c.conv_width)
            kernel = self.param(f"kernel_{i}", nn.initializers.he_normal(), shape, jnp.float32)
            x = jax.lax.conv_general_dilated(
                x, kernel.astype(c.dtype), (stride,), "VALID", dimension_numbers=("NWC", "WIO", "NWC")
            )
            lengths = jnp.maximum((lengths - size) // stride + 1, 0)
            if c.conv_bias:
                bias = self.param(f"bias_{i}", nn.initializers.zeros, shape[-1:], jnp.float32)
                x = x + bias.astype(c.dtype)[None, None]
            if c.conv_norm == "layer":
                x = LayerNorm(GROUP_EPSILON, c.dtype, name=f"norm_{i}")(x)
            elif i == 0:
                x = GroupNorm(c.dtype, name=f"norm_{i}")(x, lengths)
            x = ACTIVATIONS[c.conv_activation](x)
        return x, lengths


class PositionalConvolution(nn.Module):
    """A convolution over frames, in groups, with weight normalisation: the only positions that the model has.

    The kernel is `direction` with each of its frames scaled to the length `scale` (weight normalisation of PyTorch's
    `dim=2`, arXiv:1602.07868).
    """

    config: WavConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[batch, frames, width]` to the same shape."""
        c = self.config
        shape = (c.positional_kernel, c.width // c.positional_groups, c.width)
        stddev = 2 / (c.positional_kernel * c.width) ** 0.5

        def length(direction: jax.Array) -> jax.Array:
            return jnp.sqrt(jnp.square(direction).sum((1, 2), keepdims=True))

        direction = self.param("direction", nn.initializers.normal(stddev), shape, jnp.float32)
        # It starts as the length of a kernel of this distribution, as if nothing was normalised.
        expected = stddev * (shape[1] * shape[2]) ** 0.5
        scale = self.param("scale", nn.initializers.constant(expected), (shape[0],), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:], jnp.float32)
        kernel = direction * (scale[:, None, None] / length(direction))
        low = c.positional_kernel // 2
        x = jax.lax.conv_general_dilated(
            x,
            kernel.astype(x.dtype),
            (1,),
            [(low, c.positional_kernel - 1 - low)],
            dimension_numbers=("NWC", "WIO", "NWC"),
            feature_group_count=c.positional_groups,
        )
        return ACTIVATIONS[c.conv_activation](x + bias.astype(x.dtype)[None, None])


class WavEncoder(nn.Module):
    """Feature encoder, projection, mask, positional convolution and transformer."""

    config: WavConfig

    def setup(self) -> None:
        c = self.config
        self.feature_encoder = FeatureEncoder(c)
        if c.feature_norm:
            self.feature_layer_norm = LayerNorm(c.norm_epsilon, c.dtype)
        self.projection = Dense((c.width,), c.initializer_stddev, c.dtype)
        self.mask_embedding = self.param(
            "mask_embedding", nn.initializers.uniform(1.0), (c.width,), jnp.float32
        )
        self.positional = PositionalConvolution(c)
        if c.norm == "post":
            self.embedding_norm = LayerNorm(c.norm_epsilon, c.dtype)
        self.transformer = Transformer(c.transformer)
        nn.share_scope(self, self.transformer)  # so that parameters are at `layers`, not `transformer/layers`

    def embed(
        self, waveform: jax.Array, samples: jax.Array, mask: jax.Array | None, deterministic: bool
    ) -> tuple[jax.Array, WavEncoding]:
        """The transformer's input, `[batch, frames, width]`, and what else is known before it."""
        c = self.config
        raw, lengths = self.feature_encoder(waveform, samples)
        raw = scale_gradient(raw, c.feature_gradient)
        features = self.feature_layer_norm(raw) if c.feature_norm else raw
        x = self.projection(features)
        x = dropout(x, c.feature_dropout, None if deterministic else self.make_rng("dropout"))
        if mask is not None:
            x = jnp.where(mask[..., None], self.mask_embedding.astype(x.dtype)[None, None], x)
        x = jnp.where(present_frames(lengths, x.shape[1])[..., None], x, jnp.zeros((), x.dtype))
        x = x + self.positional(x)
        if c.norm == "post":
            x = self.embedding_norm(x)
        x = dropout(x, c.dropout, None if deterministic else self.make_rng("dropout"))
        return x, WavEncoding(x, features, raw, lengths)

    def __call__(
        self,
        waveform: jax.Array,
        samples: jax.Array,
        mask: jax.Array | None = None,
        *,
        deterministic: bool = True,
    ) -> WavEncoding:
        """Encodes waveforms.

        Args:
          waveform: float32 `[batch, samples]`.
          samples: int32 `[batch]`, the true samples of each row; the rest is padding.
          mask: bool `[batch, frames]`, the frames that are replaced by the mask embedding; None for none.
          deterministic: turns dropout off. Otherwise the call needs the "dropout" key.
        """
        x, encoding = self.embed(waveform, samples, mask, deterministic)
        keys = padding_mask(present_frames(encoding.lengths, x.shape[1]))
        hidden, _ = self.transformer(x, keys, deterministic=deterministic)
        return encoding._replace(hidden=hidden)


def wav_hidden_states(
    config: WavConfig, params: dict, waveform: jax.Array, samples: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The hidden states of all layers.

    Args:
      config: of the encoder.
      params: of a `WavEncoder`.
      waveform: float32 `[batch, samples]`.
      samples: int32 `[batch]`, true samples.

    Returns:
      `[layers + 1, batch, frames, width]`: the transformer's input first, then each layer's output, that of the last
      layer without the final normalisation of pre-norm models; and the lengths `[batch]` in frames.
    """
    encoder = WavEncoder(config)
    x, encoding = encoder.apply({"params": params}, waveform, samples, None, True, method="embed")
    keys = padding_mask(present_frames(encoding.lengths, x.shape[1]))
    layer, states = Layer(config.transformer, deterministic=True), [x]
    for own in unstack(params["layers"], config.transformer):
        x, _ = layer.apply({"params": own}, x, None, keys, None, None, None, None)
        states.append(x)
    return jnp.stack(states), encoding.lengths


@dataclasses.dataclass(frozen=True)
class GumbelConfig(Settings):
    """The quantiser of wav2vec 2.0 and the space in which frames are compared."""

    groups: Annotated[int, integers(1, 64)] = 2
    """Codebooks, each with a share of the vector."""
    codes: CodebookSize = 320
    """Entries of each codebook."""
    code_width: Width = 256
    """Numbers of all codes of a frame together; the groups divide it."""
    projection_width: Width = 256
    """Numbers of the vectors that are compared."""

    def check_relations(self) -> None:
        if self.code_width % self.groups:
            raise UserError(f"{self.groups} groups do not divide the code_width {self.code_width}.")


class Quantized(NamedTuple):
    """Quantised features.

    Attributes:
      vectors: `[..., code_width]`.
      codes: int32 `[..., groups]`.
      probabilities: float32 `[..., groups, codes]`, softmax of the logits without noise and temperature.
    """

    vectors: jax.Array
    codes: jax.Array
    probabilities: jax.Array


class GumbelQuantizer(nn.Module):
    """Chooses one vector of each codebook by Gumbel-softmax with the straight-through gradient (section 2)."""

    config: GumbelConfig

    @nn.compact
    def __call__(
        self, features: jax.Array, temperature: jax.Array | None, key: jax.Array | None
    ) -> Quantized:
        """Quantises `features [..., conv_width]`; without a key, each code is the likeliest one."""
        c = self.config
        logits = Dense((c.groups, c.codes), 1.0, name="logits")(features.astype(jnp.float32))
        shape = (c.groups, c.codes, c.code_width // c.groups)
        vectors = self.param("vectors", nn.initializers.uniform(1.0), shape, jnp.float32)
        if key is None:
            chosen = jax.nn.one_hot(jnp.argmax(logits, -1), c.codes, dtype=jnp.float32)
        else:
            chosen = gumbel_softmax(key, logits, temperature, hard=True)
        together = jnp.einsum("...gv,gvd->...gd", chosen, vectors)
        return Quantized(
            together.reshape(*features.shape[:-1], c.code_width),
            jnp.argmax(chosen, -1).astype(jnp.int32),
            jax.nn.softmax(logits, axis=-1),
        )


class Wav2Vec2(nn.Module):
    """wav2vec 2.0 with what pretraining adds: quantiser and projections."""

    config: WavConfig
    quantizer_config: GumbelConfig

    def setup(self) -> None:
        c, q = self.config, self.quantizer_config
        self.encoder = WavEncoder(c)
        self.quantizer = GumbelQuantizer(q)
        self.project_hidden = Dense((q.projection_width,), None)
        self.project_codes = Dense((q.projection_width,), None)

    def encode(self, *arguments: jax.Array, deterministic: bool = True) -> WavEncoding:
        """See `WavEncoder`."""
        return self.encoder(*arguments, deterministic=deterministic)

    def compare(
        self,
        hidden: jax.Array,
        features: jax.Array,
        temperature: jax.Array | None = None,
        key: jax.Array | None = None,
        *,
        deterministic: bool = True,
    ) -> tuple[jax.Array, jax.Array, Quantized]:
        """The vectors that are compared.

        Args:
          hidden: `[..., width]`, of the masked input.
          features: `[..., conv_width]`, of the unmasked input.
          temperature: of the Gumbel-softmax.
          key: of the Gumbel-softmax; None for the likeliest codes.
          deterministic: turns dropout off. Otherwise the call needs the "dropout" key.

        Returns:
          predictions `[..., projection_width]`, targets of the same shape, and the quantised features.
        """
        rate = self.config.feature_dropout
        features = dropout(features, rate, None if deterministic else self.make_rng("dropout"))
        quantized = self.quantizer(features, temperature, key)
        return self.project_hidden(hidden), self.project_codes(quantized.vectors), quantized

    def __call__(self, waveform: jax.Array, samples: jax.Array) -> tuple[jax.Array, jax.Array, Quantized]:
        """`compare` of all frames without a mask."""
        encoding = self.encoder(waveform, samples)
        return self.compare(encoding.hidden, encoding.features)


class Hubert(nn.Module):
    """HuBERT with what pretraining adds: a projection, and an embedding of each unit."""

    config: WavConfig
    units: int
    projection_width: int = 256

    def setup(self) -> None:
        self.encoder = WavEncoder(self.config)
        self.project_hidden = Dense((self.projection_width,), None)
        shape = (self.units, self.projection_width)
        self.unit_embeddings = self.param("unit_embeddings", nn.initializers.uniform(1.0), shape, jnp.float32)

    def encode(self, *arguments: jax.Array, deterministic: bool = True) -> WavEncoding:
        """See `WavEncoder`."""
        return self.encoder(*arguments, deterministic=deterministic)

    def predict(self, hidden: jax.Array) -> tuple[jax.Array, jax.Array]:
        """`hidden [..., width]` to vectors `[..., projection_width]`, and the embeddings of the units."""
        return self.project_hidden(hidden), self.unit_embeddings

    def __call__(self, waveform: jax.Array, samples: jax.Array) -> tuple[jax.Array, jax.Array]:
        """`predict` of all frames without a mask."""
        return self.predict(self.encoder(waveform, samples).hidden)
