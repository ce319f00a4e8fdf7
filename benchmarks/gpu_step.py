"""Training steps of BERT base and GPT-2 small in bfloat16 on one NVIDIA GPU, beside PyTorch with its flash attention.

    python -m benchmarks.gpu_step [--calls 20]

Ours are the steps of the training loop for the papers' presets, with a batch for one GPU and no rematerialisation:
BERT's first phase (rows of 128, 20 predictions a row, dropout 0.1 also of the attention weights) and GPT-2 (packed rows
of 1,024, no dropout). The peers are the models of `transformers` under `torch.compile`, with bfloat16 autocast,
`scaled_dot_product_attention` and fused AdamW. transformers computes BERT's logits at every position; the peer's
operations are counted with them. Each side is a process of its own. MFU is of the 989 TFLOP/s that NVIDIA states for an
H100 or H200 (SXM) in bfloat16.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable

PEAK = 989e12
BATCHES = {"bert": 256, "gpt2": 32}
SIDES = ("ours", "plain", "torch")
"""Ours, ours without the kernel of attention, and the peer."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--calls", type=int, default=20, help="steps that are timed together")
    parser.add_argument("--case", help="MODEL:SIDE, in a process of its own")
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(*arguments.case.split(":"), arguments.calls)))
        return
    for model in BATCHES:
        for side in SIDES:
            if (model, side) == ("bert", "plain"):
                continue  # its dropout of attention weights has no kernel: ours is plain
            command = [sys.executable, "-m", "benchmarks.gpu_step", "--case", f"{model}:{side}"]
            done = subprocess.run([*command, "--calls", str(arguments.calls)], capture_output=True, text=True)
            print(f"{model:6}{side:7}{done.stdout.strip() or done.stderr[-1500:]}", flush=True)


def measure(model: str, side: str, calls: int) -> dict:
    """The median of five measurements of `calls` steps each."""
    started = time.perf_counter()
    step, tokens, flops, device = torch_step(model) if side == "torch" else our_step(model, side)
    step(2)
    compiled = time.perf_counter() - started
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        step(calls)
        seconds.append((time.perf_counter() - started) / calls)
    median = sorted(seconds)[2]
    return {
        "device": device,
        "ms": round(1e3 * median, 2),
        "spread_ms": [round(1e3 * min(seconds), 2), round(1e3 * max(seconds), 2)],
        "tokens_per_second": round(tokens / median),
        "mfu": round(flops / median / PEAK, 3),
        "tflop": round(flops / 1e12, 2),
        "start_s": round(compiled, 1),
    }


def our_step(model: str, side: str) -> tuple[Callable[[int], None], int, float, str]:
    """(steps, tokens of a step, operations of a step without those that are done again, device)."""
    import jax
    import numpy as np

    from experiments import bert, gpt2
    from ssl_jax.models import transformer
    from ssl_jax.training.compiling import Program
    from ssl_jax.training.planning import product_flops, recomputed_flops
    from ssl_jax.training.sharding import batch_sharding, make_mesh

    module, preset = {"bert": (bert, "base"), "gpt2": (gpt2, "small")}[model]
    config = module.PRESETS[preset]
    train = dataclasses.replace(config.train, batch_size=BATCHES[model], micro_batches=1)
    config = dataclasses.replace(config, train=train, model=dataclasses.replace(config.model, remat="none"))
    experiment = module.build(config)
    mesh, phase = make_mesh(experiment.mesh), experiment.phases[0]
    program = Program(experiment, mesh)
    kernels = transformer.kernel_takes
    transformer.kernel_takes = lambda *sizes: False  # operations are counted in the plain formula
    traced = program.trace_train_step(phase).jaxpr.jaxpr
    flops = product_flops(traced) - recomputed_flops(traced)
    if side == "ours":
        transformer.kernel_takes = kernels
    generator = np.random.default_rng(0)

    def filled(name: str, shape: jax.ShapeDtypeStruct) -> np.ndarray:
        length = shape.shape[-1]
        if name in ("tokens", "targets"):
            return generator.integers(5, 30_000, shape.shape).astype(shape.dtype)
        if name == "vocab_size":
            return np.full(shape.shape, 30_000, shape.dtype)
        if name in ("positions", "words"):
            return np.broadcast_to(np.arange(length, dtype=shape.dtype), shape.shape)
        return np.ones(shape.shape, shape.dtype)

    batch = {name: filled(name, shape) for name, shape in phase.batch.items()}
    batch = jax.device_put(batch, batch_sharding(mesh))
    train_step = Program(experiment, mesh).train_step(phase)
    state = [program.initial_state()]

    def step(calls: int) -> None:
        for _ in range(calls):
            state[0], bad_step = train_step(state[0], batch)
        assert int(bad_step) == 0

    return step, phase.work[1], flops, jax.devices()[0].device_kind


def torch_step(model: str) -> tuple[Callable[[int], None], int, float, str]:
    """As `our_step`, of PyTorch and transformers."""
    import torch
    import transformers

    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    rows = BATCHES[model]
    if model == "bert":
        length, settings = 128, transformers.BertConfig(attn_implementation="sdpa")
        network = transformers.BertForPreTraining(settings)
    else:
        length = 1024
        settings = transformers.GPT2Config(
            attn_implementation="sdpa", embd_pdrop=0.0, resid_pdrop=0.0, attn_pdrop=0.0
        )
        network = transformers.GPT2LMHeadModel(settings)
    network = network.cuda().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    tokens = torch.randint(5, 30_000, (rows, length), device="cuda")
    inputs = {"input_ids": tokens, "labels": tokens}
    if model == "bert":
        inputs["next_sentence_label"] = torch.zeros(rows, dtype=torch.long, device="cuda")
    compiled = torch.compile(network)

    def step(calls: int) -> None:
        for _ in range(calls):
            with torch.autocast("cuda", torch.bfloat16):
                loss = compiled(**inputs).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()

    layers, width, vocabulary = 12, 768, settings.vocab_size
    weights = layers * 12 * width**2 + width * vocabulary + (width**2 if model == "bert" else 0)
    flops = rows * length * (6 * weights + 12 * layers * length * width)
    return step, rows * length, flops, torch.cuda.get_device_name()


if __name__ == "__main__":
    main()
