"""Speech on the CPU beside the usual packages: features, span masks, Griffin-Lim, steps of wav2vec 2.0 and APC.

    PYTHONPATH=FOLDER tests/parity/run.sh python -m benchmarks.speech [--only fbank masks griffin_lim wav2vec2 apc]

FOLDER holds `pip install --target FOLDER kaldi-native-fbank librosa torchaudio`; a peer that is not installed is left
out. Of a torchaudio for another PyTorch, remove the folder lib: what is compared is written in Python.

- fbank: 80 log-mel filters of utterances of 10 seconds at 16 kHz; torchaudio and kaldi-native-fbank take one utterance
  at a time, ours a batch. Ours alone is timed for one utterance, too.
- masks: spans of 10 frames in 32 rows of 500; transformers' `_compute_mask_indices`, which is fairseq's with another
  order of draws, and a plain loop in NumPy of the same law.
- griffin_lim: 32 rounds with momentum 0.99, Hann windows of 512 samples every 128, 5 seconds at 16 kHz.
- wav2vec2: a step of a small wav2vec 2.0 on 16 rows of 1.1 seconds at 8 kHz, without dropout: masks and negatives,
  forward, loss, backward and AdamW; `Wav2Vec2ForPreTraining` with masks and negatives that are drawn on the host, as in
  transformers' example.
- apc: a step of 3 recurrent layers of 512 units on 32 rows of 2 seconds at 8 kHz; `torch.nn.GRU` with the residual
  connections and the loss of the released code, on features that are ready, where ours computes them from waveforms.

The two sides of a step are processes of their own.
"""

import argparse
import itertools
import statistics

import numpy as np

from benchmarks.turns import Side, ratio, serve, take_turns, timed

THREADS, RATE, MELS, UTTERANCES, SECONDS = 2, 16_000, 80, 16, 10
ROWS, FRAMES, PROBABILITY, SPAN, LEAST = 32, 500, 0.065, 10, 2
GRIFFIN_ROUNDS, FFT, HOP = 32, 512, 128
STEP_RATE = 8_000
WAV2VEC2_ROWS, WAV2VEC2_SAMPLES = 16, 8_800
APC_ROWS, APC_SAMPLES, APC_WIDTH, APC_AHEAD, APC_MELS = 32, 16_000, 512, 5, 40
PARTS = ("fbank", "masks", "griffin_lim", "wav2vec2", "apc")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=PARTS, nargs="*", default=PARTS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    steps = {
        "wav2vec2": {"ssl_jax": our_wav2vec2, "transformers": their_wav2vec2},
        "apc": {"ssl_jax": our_apc, "PyTorch": their_apc},
    }
    if arguments.serve:
        part, name = arguments.serve
        step = steps[part][name]()
        serve({"step": lambda: timed(step, 2)})
        return
    for part in arguments.only:
        if part in steps:
            sides = {name: Side("benchmarks.speech", "--serve", part, name) for name in steps[part]}
            calls = {name: lambda side=side: side.ask("step") for name, side in sides.items()}
        else:
            sides, makers = {}, {"fbank": fbank, "masks": masks, "griffin_lim": griffin_lim}
            calls = {name: lambda many=many: timed(many, 3) for name, many in makers[part]().items()}
        show(part, take_turns(calls, arguments.rounds))
        for name, side in sides.items():
            print(f"  {name}: {side.ask('memory'):,.0f} MiB at most")
            side.close()


def show(part, seconds):
    """Prints the medians of the sides, and how much faster the first one is than each other."""
    first = next(iter(seconds))
    print(f"{part}, medians of {len(seconds[first])} rounds")
    for name, times in seconds.items():
        faster = "" if name == first else f"   {first} is {ratio(times, seconds[first]):.2f} times as fast"
        print(f"  {name:28} {statistics.median(times) * 1e3:9.2f} ms{faster}")


def repeated(call):
    """A `many` of `timed` of a function without arguments."""

    def many(calls):
        for _ in range(calls):
            call()

    return many


def fbank():
    import jax

    from ssl_jax.training.sharding import MeshConfig, make_mesh
    from ssl_jax.transforms.speech_features import log_mel

    jax.set_mesh(make_mesh(MeshConfig()))  # as in a step: on one CPU, large batches are computed in pieces

    waves = 0.1 * np.random.default_rng(0).standard_normal((UTTERANCES, RATE * SECONDS)).astype(np.float32)
    ours = jax.jit(lambda x: log_mel(x, RATE, MELS))
    sides = {
        f"ssl_jax, {UTTERANCES} at once": repeated(lambda: ours(waves).block_until_ready()),
        f"ssl_jax, {UTTERANCES} by one": repeated(
            lambda: [ours(waves[i : i + 1]).block_until_ready() for i in range(UTTERANCES)]
        ),
    }
    try:
        import kaldi_native_fbank

        options = kaldi_native_fbank.FbankOptions()
        options.frame_opts.dither, options.mel_opts.num_bins = 0, MELS
        options.frame_opts.samp_freq = RATE
        scaled = [wave.tolist() for wave in waves * 32768]

        def kaldi():
            for wave in scaled:
                made = kaldi_native_fbank.OnlineFbank(options)
                made.accept_waveform(RATE, wave)
                made.input_finished()
                [made.get_frame(i) for i in range(made.num_frames_ready)]

        sides["kaldi-native-fbank"] = repeated(kaldi)
    except ImportError as error:
        print(f"no peer to compare with: {error}")
    try:
        import torch
        import torchaudio

        torch.set_num_threads(THREADS)
        tensors = torch.from_numpy(waves * 32768)
        compute = torchaudio.compliance.kaldi.fbank
        sides["torchaudio"] = repeated(
            lambda: [compute(wave[None], num_mel_bins=MELS, sample_frequency=RATE) for wave in tensors]
        )
    except ImportError as error:
        print(f"no peer to compare with: {error}")
    return sides


def masks():
    import jax
    import jax.numpy as jnp

    from ssl_jax.transforms.span_masks import SpanMaskConfig, span_masks

    lengths = jnp.full(ROWS, FRAMES, jnp.int32)
    ours = jax.jit(lambda key: span_masks(key, lengths, FRAMES, SpanMaskConfig(PROBABILITY, SPAN, LEAST)))
    keys = itertools.cycle([*jax.random.split(jax.random.key(0), 8)])
    rng = np.random.default_rng(0)

    def loop():
        mask = np.zeros((ROWS, FRAMES), bool)
        for row in mask:
            count = max(int(PROBABILITY * FRAMES + rng.random()), LEAST)
            starts = rng.choice(FRAMES - SPAN + 1, count, replace=False)
            row[(starts[:, None] + np.arange(SPAN)).ravel()] = True
        return mask

    sides = {
        "ssl_jax": repeated(lambda: ours(next(keys)).block_until_ready()),
        "plain loop": repeated(loop),
    }
    try:
        from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

        share = PROBABILITY * SPAN
        sides["transformers"] = repeated(
            lambda: _compute_mask_indices((ROWS, FRAMES), share, SPAN, min_masks=LEAST)
        )
    except ImportError as error:
        print(f"no peer to compare with: {error}")
    return sides


def griffin_lim():
    import jax

    from ssl_jax.transforms import griffin_lim as ours

    transform = ours.Stft(np.hanning(FFT + 1)[:-1].astype(np.float32), HOP, FFT)
    wave = 0.1 * np.random.default_rng(0).standard_normal((1, 5 * RATE)).astype(np.float32)
    magnitudes = abs(ours.stft(wave, transform))
    frames = np.array([magnitudes.shape[1]], np.int32)
    invert = jax.jit(
        lambda x, count: ours.griffin_lim(jax.random.key(0), x, count, transform, rounds=GRIFFIN_ROUNDS)
    )
    sides = {"ssl_jax": repeated(lambda: invert(magnitudes, frames).block_until_ready())}
    try:
        import librosa

        transposed = np.asarray(magnitudes[0]).T
        sides["librosa"] = repeated(
            lambda: librosa.griffinlim(
                transposed, n_iter=GRIFFIN_ROUNDS, hop_length=HOP, n_fft=FFT, momentum=0.99
            )
        )
    except ImportError as error:
        print(f"no peer to compare with: {error}")
    return sides


def step_waves(rows, samples):
    """Rows without padding."""
    return 0.1 * np.random.default_rng(0).standard_normal((rows, samples)).astype(np.float32)


def our_step(built, rows, samples):
    """A `many` of `timed` of the step of an experiment on speech."""
    import jax

    from ssl_jax.training.compiling import Program
    from ssl_jax.training.sharding import batch_sharding, make_mesh

    mesh = make_mesh(built.mesh)
    program = Program(built, mesh)
    train_step = program.train_step(built.phases[0])
    batch = {
        "waveform": step_waves(rows, samples),
        "samples": np.full(rows, samples, np.int32),
        "example_weight": np.ones(rows, np.float32),
    }
    batch = jax.device_put(batch, batch_sharding(mesh))
    state = [program.initial_state()]

    def many(calls):
        for _ in range(calls):
            state[0], _ = train_step(state[0], batch)
        jax.block_until_ready(state[0])

    return many


def our_wav2vec2():
    import dataclasses

    from experiments.wav2vec2 import PRESETS, build

    config = PRESETS["synthesised"]
    train = dataclasses.replace(config.train, batch_size=WAV2VEC2_ROWS)
    return our_step(build(dataclasses.replace(config, train=train)), WAV2VEC2_ROWS, WAV2VEC2_SAMPLES)


def our_apc():
    import dataclasses

    from experiments.apc import PRESETS, GruConfig, build

    config = PRESETS["synthesised"]
    config = dataclasses.replace(
        config,
        network=GruConfig(width=APC_WIDTH),
        data=dataclasses.replace(config.data, longest=APC_SAMPLES / STEP_RATE),
        train=dataclasses.replace(config.train, batch_size=APC_ROWS),
    )
    return our_step(build(config), APC_ROWS, APC_SAMPLES)


def their_apc():
    import torch

    from experiments.apc import PRESETS

    torch.set_num_threads(THREADS)
    assert PRESETS["synthesised"].features.width == APC_MELS

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            widths = (APC_MELS, APC_WIDTH, APC_WIDTH)
            self.layers = torch.nn.ModuleList(
                torch.nn.GRU(width, APC_WIDTH, batch_first=True) for width in widths
            )
            self.prediction = torch.nn.Linear(APC_WIDTH, APC_MELS)

        def forward(self, x):
            for number, layer in enumerate(self.layers):
                out, _ = layer(x)
                x = out + x if number else out
            return self.prediction(x)

    network = Network().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    frames = 1 + (APC_SAMPLES - STEP_RATE * 25 // 1000) // (STEP_RATE // 100)
    features = torch.randn(APC_ROWS, frames, APC_MELS)

    def step():
        optimizer.zero_grad(set_to_none=True)
        error = torch.nn.functional.l1_loss(network(features)[:, :-APC_AHEAD], features[:, APC_AHEAD:])
        error.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    return repeated(step)


def their_wav2vec2():
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining
    from transformers.models.wav2vec2 import modeling_wav2vec2 as theirs

    from experiments.wav2vec2 import PRESETS

    torch.set_num_threads(THREADS)
    config = PRESETS["synthesised"]
    model, quantizer, masking = config.model, config.quantizer, config.masking
    none = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "layerdrop")
    network = Wav2Vec2ForPreTraining(
        Wav2Vec2Config(
            hidden_size=model.width,
            num_hidden_layers=model.layers,
            num_attention_heads=model.heads,
            intermediate_size=model.mlp_width,
            conv_dim=[model.conv_width] * len(model.kernels),
            conv_kernel=list(model.kernels),
            conv_stride=list(model.strides),
            num_conv_pos_embeddings=model.positional_kernel,
            num_conv_pos_embedding_groups=model.positional_groups,
            num_codevectors_per_group=quantizer.codes,
            codevector_dim=quantizer.code_width,
            proj_codevector_dim=quantizer.projection_width,
            num_negatives=config.contrast.negatives,
            feat_quantizer_dropout=0.0,
            final_dropout=0.0,
            **dict.fromkeys(none, 0.0),
        )
    ).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    waves = torch.from_numpy(step_waves(WAV2VEC2_ROWS, WAV2VEC2_SAMPLES))
    shape = WAV2VEC2_ROWS, int(model.frames(WAV2VEC2_SAMPLES))

    def step():
        share = masking.start_probability * masking.span
        mask = theirs._compute_mask_indices(shape, share, masking.span, min_masks=masking.least_spans)
        negatives = theirs._sample_negative_indices(shape, config.contrast.negatives, mask)
        optimizer.zero_grad(set_to_none=True)
        found = network(
            waves,
            mask_time_indices=torch.from_numpy(mask),
            sampled_negative_indices=torch.from_numpy(negatives),
        )
        found.loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    return repeated(step)


if __name__ == "__main__":
    main()
