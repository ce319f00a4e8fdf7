"""A training step of a small variational autoencoder on the CPU, beside the same model in PyTorch in the same run.

    tests/parity/run.sh python -m benchmarks.vae_step [--rounds 9]

Dense, 784-400-20 and back, 128 images of 28x28 uint8 pixels, Bernoulli, Adam, float32, two threads. Pixels to [0, 1],
a draw of black and white ones, encoder, a draw of the code, decoder, bound, backward, update. Ours is the compiled step
of the training loop with summed figures; the peer is PyTorch in eager mode, with fused Adam. Both take images of that
size from memory. Each side is a process of its own, with large pages, so that its peak of memory is its own. They take
turns.
"""

import numpy as np

from benchmarks.turns import compare_steps

BATCH, PIXELS, HIDDEN, CODE, THREADS = 128, 784, 400, 20, 2
STEPS = 200


def main():
    compare_steps(
        "benchmarks.vae_step",
        __doc__.split("\n")[0],
        (ours, peer),
        calls=STEPS,
        title=f"VAE, {PIXELS}-{HIDDEN}-{CODE}, {BATCH} images, float32, {THREADS} threads",
        items=BATCH,
        unit="images",
        operations=flops(),
    )


def flops():
    """Floating-point operations of a step's matrix products: forward, and back to kernels and to all but the images."""
    inner = 2 * CODE * HIDDEN + CODE * HIDDEN + HIDDEN * PIXELS
    return 2 * BATCH * (2 * PIXELS * HIDDEN + 3 * inner)


def images():
    return np.random.default_rng(0).integers(0, 256, (BATCH, 28, 28, 1), np.uint8)


def ours():
    from dataclasses import replace

    import jax

    from experiments.vae import PRESETS, build
    from ssl_jax.models.autoencoder import AutoencoderConfig
    from ssl_jax.training.compiling import Program
    from ssl_jax.training.schedules import ScheduleConfig
    from ssl_jax.training.sharding import batch_sharding, make_mesh

    base = PRESETS["mnist"]
    built = build(
        replace(
            base,
            network=AutoencoderConfig(hidden=(HIDDEN,)),
            code_size=CODE,
            schedule=ScheduleConfig(learning_rate=1e-3, warmup_steps=0, decay="constant"),
            train=replace(base.train, batch_size=BATCH),
        )
    )
    mesh = make_mesh(built.mesh)
    program = Program(built, mesh)
    train_step = program.train_step(built.phases[0])
    batch = {
        "image": images(),
        "extent": np.full((BATCH, 2), 28, np.int32),
        "label": np.zeros(BATCH, np.int32),
        "example_weight": np.ones(BATCH, np.float32),
    }
    batch = jax.device_put(batch, batch_sharding(mesh))
    state = [program.initial_state()]

    def step(calls):
        for _ in range(calls):
            state[0], _ = train_step(state[0], batch)
        jax.block_until_ready(state[0])

    return step


def peer():
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(THREADS)
    encoder = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * CODE))
    decoder = nn.Sequential(nn.Linear(CODE, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS))
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    batch = torch.from_numpy(images())

    def step(calls):
        for _ in range(calls):
            optimizer.zero_grad(set_to_none=True)
            data = torch.bernoulli(batch.view(BATCH, -1).float() / 255)
            mean, log_variance = encoder(data).chunk(2, dim=1)
            code = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
            negative = functional.binary_cross_entropy_with_logits(decoder(code), data, reduction="sum")
            divergence = (mean**2 + log_variance.exp() - 1 - log_variance).sum() / 2
            ((negative + divergence) / BATCH).backward()
            optimizer.step()

    return step


if __name__ == "__main__":
    main()
