"""A training step of SimCLR with ResNet-18 on the CPU, beside torchvision and lightly on PyTorch in the same run.

    python -m benchmarks.simclr_step [--rounds 3]

64 images of 32x32x3 in two views each, float32, two threads: the forward pass of all 128 views as one batch, NT-Xent,
the backward pass, and SGD with momentum. The network is ResNet-18 with a stem 3x3 of stride 1 and no max-pool, and
SimCLR's head. Ours is the compiled step of the training loop for the preset cifar10 of experiments.simclr, from uint8
images, with its online probe and metrics: once as it is, once with nothing random about its views, which leaves a
resizing to the same size. The peer is torchvision's network, with lightly's head and loss, in PyTorch eager on
float views that are ready: it augments nothing. Its images lie in memory channels first, as is its default, or last.

The same convolutions alone, each forward and backward without the rest of the network, are timed shape by shape;
multiplied by how often a shape occurs, and added up, they say how much of a step they would account for. They may come
to more than the step, which finds its data in the caches. Operations are those of the convolutions, counted from
their shapes; the rest of the network has less than a hundredth as many.

Each side is a process of its own, with large pages, so that its peak of memory is its own. They take turns.
"""

import argparse
import collections
import importlib.util
import os
import statistics
import time

import numpy as np

from benchmarks.turns import Side, ratio, serve, take_turns, timed

BATCH, SIZE, CHANNELS, THREADS = 64, 32, 3, 2
VIEWS = 2 * BATCH
WIDTH, STAGES, BLOCKS = 64, 4, 2
HIDDEN, FEATURES = 512, 128
TEMPERATURE, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.5, 1e-3, 0.9, 1e-6
OURS = {"augmented": "ssl_jax", "ready": "ssl_jax, views not random"}
PEERS = {"first": "PyTorch, channels first", "last": "PyTorch, channels last"}

Convolution = collections.namedtuple("Convolution", "side inputs outputs kernel stride")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", choices=[*OURS, *PEERS], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        step, convolution = (ours if arguments.serve in OURS else peer)(arguments.serve)
        serve({"step": lambda: timed(repeated(step), 1), "convolutions": alone(convolution)})
        return

    missing = [name for name in ("torchvision", "lightly") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"no peer to compare with: {' and '.join(missing)} not installed")
    names = OURS if missing else OURS | PEERS
    sides = {name: Side("benchmarks.simclr_step", "--serve", name) for name in names}
    memory = {}
    for name, side in sides.items():
        side.ask("step")
        side.ask("step")  # the optimiser's state is there now, and nothing yet of the convolutions alone
        memory[name] = side.ask("memory")
    report(names, sides, memory, arguments.rounds)
    for side in sides.values():
        side.close()


def report(names, sides, memory, rounds):
    """Lets the sides take turns, and prints speed, memory and share of the convolutions of each."""
    turns = take_turns(
        {
            name: lambda side=side: (side.ask("step"), side.ask("convolutions"))
            for name, side in sides.items()
        },
        rounds,
    )
    steps = {name: [step for step, _ in pairs] for name, pairs in turns.items()}
    work = sum(flops(shape) * count for shape, count in convolutions().items()) / 1e9
    print(
        f"SimCLR, ResNet-18, {BATCH} images of {SIZE}x{SIZE}x{CHANNELS}, float32, "
        f"{len(os.sched_getaffinity(0))} cores, medians of {rounds} rounds; {work:.0f} GFLOP a step"
    )
    for name, label in names.items():
        step = statistics.median(steps[name])
        convolving = statistics.median(alone for _, alone in turns[name])
        share = statistics.median(alone / step for step, alone in turns[name])
        print(
            f"  {label:26} {step * 1e3:7.0f} ms {BATCH / step:6.1f} images/s {work / step:5.0f} GFLOP/s"
            f"   {memory[name]:5.0f} MiB at most; convolutions alone {convolving * 1e3:6.0f} ms, {share:.0%} "
            f"of the step, {work / convolving:.0f} GFLOP/s"
        )
    for own in OURS:
        for other in (name for name in names if name in PEERS):
            print(f"  {OURS[own]} is {ratio(steps[other], steps[own]):.2f} x {PEERS[other]}")


def convolutions():
    """How often each convolution occurs in the network, in the order of the layers."""
    found = collections.Counter([Convolution(SIZE, CHANNELS, WIDTH, 3, 1)])
    side, inputs = SIZE, WIDTH
    for stage in range(STAGES):
        outputs = WIDTH * 2**stage
        for block in range(BLOCKS):
            stride = 2 if stage and not block else 1
            found[Convolution(side, inputs, outputs, 3, stride)] += 1
            if inputs != outputs:
                found[Convolution(side, inputs, outputs, 1, stride)] += 1
            side, inputs = side // stride, outputs
            found[Convolution(side, outputs, outputs, 3, 1)] += 1
    return found


def flops(shape):
    """Operations for all views: forward, the gradient of the kernel and, but for images, that of the input."""
    products = VIEWS * (shape.side // shape.stride) ** 2 * shape.kernel**2 * shape.inputs * shape.outputs
    return 2 * products * (2 if shape.inputs == CHANNELS else 3)


def alone(convolution):
    """A function that answers with the seconds of all convolutions of a step, each timed without the others."""
    calls = {shape: (convolution(shape), count) for shape, count in convolutions().items()}

    def answer():
        return sum(elapsed(call) * count for call, count in calls.values())

    return answer


def repeated(step):
    """`step` in the form of `timed`, which does not count a first call: the side before may have threads that spin."""

    def many(calls):
        for _ in range(calls):
            step()

    return many


def elapsed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def experiment(views):
    """The preset cifar10 of experiments.simclr in float32, with SGD and a small batch."""
    from dataclasses import replace

    from experiments.simclr import PRESETS, build
    from ssl_jax.training.optimizers import OptimizerConfig
    from ssl_jax.training.schedules import ScheduleConfig

    preset = PRESETS["cifar10"]
    if views == "ready":
        still = {
            "crop_area": (1.0, 1.0),
            "crop_ratio": (1.0, 1.0),
            "flip": 0.0,
            "jitter": 0.0,
            "grayscale": 0.0,
        }
        preset = replace(preset, views=tuple(replace(view, **still) for view in preset.views))
    return build(
        replace(
            preset,
            encoder=replace(preset.encoder, dtype="float32"),
            optimizer=OptimizerConfig(name="sgd", beta1=MOMENTUM, weight_decay=WEIGHT_DECAY, clip_norm=0.0),
            schedule=ScheduleConfig(learning_rate=LEARNING_RATE, warmup_steps=0),
            train=replace(preset.train, batch_size=BATCH),
        )
    )


def ours(views):
    import jax
    import jax.numpy as jnp

    from ssl_jax.ops.convolution import convolve
    from ssl_jax.training.compiling import Program
    from ssl_jax.training.sharding import batch_sharding, make_mesh

    built = experiment(views)
    mesh = make_mesh(built.mesh)
    program = Program(built, mesh)
    train_step = program.train_step(built.phases[0])
    chance = np.random.default_rng(0)
    batch = {
        "image": chance.integers(0, 256, (BATCH, SIZE, SIZE, CHANNELS), np.uint8),
        "extent": np.full((BATCH, 2), SIZE, np.int32),
        "label": chance.integers(0, 10, BATCH, np.int32),
        "example_weight": np.ones(BATCH, np.float32),
    }
    batch = jax.device_put(batch, batch_sharding(mesh))
    state = [program.initial_state()]

    def step():
        state[0], _ = train_step(state[0], batch)
        jax.block_until_ready(state[0])

    def convolution(shape):
        @jax.jit
        def both_ways(x, kernel, g):
            y, back = jax.vjp(lambda *of: convolve(*of, shape.stride), x, kernel)
            return y, back(g)[1:] if shape.inputs == CHANNELS else back(g)

        arrays = [jnp.full(axes, 0.5) for axes in operands(shape)]
        with jax.set_mesh(mesh):  # as in a step: convolutions have another form where there is no mesh
            compiled = both_ways.lower(*arrays).compile()
        return lambda: jax.block_until_ready(compiled(*arrays))

    return step, convolution


def operands(shape):
    """Axes of the images, of the kernel and of the output of a convolution."""
    return (
        (VIEWS, shape.side, shape.side, shape.inputs),
        (shape.kernel, shape.kernel, shape.inputs, shape.outputs),
        (VIEWS, shape.side // shape.stride, shape.side // shape.stride, shape.outputs),
    )


def peer(channels):
    import torch
    from lightly.loss import NTXentLoss
    from lightly.models.modules.heads import SimCLRProjectionHead
    from torchvision.models import resnet18

    torch.set_num_threads(THREADS)
    layout = torch.channels_last if channels == "last" else torch.contiguous_format
    encoder = resnet18()
    encoder.conv1 = torch.nn.Conv2d(CHANNELS, WIDTH, 3, padding=1, bias=False)
    encoder.maxpool = encoder.fc = torch.nn.Identity()
    head = SimCLRProjectionHead(WIDTH * 2 ** (STAGES - 1), HIDDEN, FEATURES)
    network = torch.nn.Sequential(encoder, head).train().to(memory_format=layout)
    criterion = NTXentLoss(temperature=TEMPERATURE)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    views = torch.rand(VIEWS, CHANNELS, SIZE, SIZE).to(memory_format=layout)

    def step():
        optimizer.zero_grad(set_to_none=True)
        criterion(*network(views).chunk(2)).backward()
        optimizer.step()

    def convolution(shape):
        x, kernel, g = (torch.full(axes, 0.5) for axes in operands(shape))
        x, g = (a.permute(0, 3, 1, 2).contiguous(memory_format=layout) for a in (x, g))
        kernel = kernel.permute(3, 2, 0, 1).contiguous(memory_format=layout)
        wanted = [kernel.requires_grad_()]
        if shape.inputs != CHANNELS:
            wanted.append(x.requires_grad_())

        def both_ways():
            y = torch.nn.functional.conv2d(x, kernel, stride=shape.stride, padding=shape.kernel // 2)
            torch.autograd.grad(y, wanted, g)

        return both_ways

    return step, convolution


if __name__ == "__main__":
    main()
