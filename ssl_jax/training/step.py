"""One optimiser step: gradients of a method's loss over micro-batches, the update, and a guard against NaN."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from ssl_jax.method import Batch, Extras, Losses, Mean, Method, Tree, merge_metrics, split_variables
from ssl_jax.training.state import TrainState, initial_state

TrainStep = Callable[[TrainState, Batch], tuple[TrainState, jax.Array]]


def step_rng(seed: int, step: jax.Array | int, micro_batch: jax.Array | int = 0) -> jax.Array:
    """The key of a step's randomness: a function of (seed, step, micro-batch) and of nothing else."""
    # Stream 1: stream 0 is the key that `init` consumed.
    key = jax.random.fold_in(jax.random.key(seed), 1)
    return jax.random.fold_in(jax.random.fold_in(key, step), micro_batch)


def mean(total: jax.Array, weight: jax.Array) -> jax.Array:
    """`total / weight`, and 0 where nothing was weighed."""
    return jnp.where(weight > 0, total / jnp.where(weight > 0, weight, 1), 0)


def objective(losses: Losses, weights: Mapping[str, jax.Array] | None = None) -> jax.Array:
    """The scalar to minimise: a scalar as it is, named means as their sum.

    Args:
      losses: of a method.
      weights: of the whole batch by name, when `losses` is of one micro-batch; None for the weights in `losses`.
    """
    if not isinstance(losses, Mapping):
        return losses
    weights = weights or {name: weight for name, (_, weight) in losses.items()}
    return sum((mean(total, weights[name]) for name, (total, _) in losses.items()), start=jnp.float32(0))


def split_batch(batch: Batch, parts: int) -> Batch:
    """`[batch, ...]` to `[parts, batch / parts, ...]`; part p takes every `parts`-th example.

    Striding keeps the examples of every part spread evenly over the devices that hold the batch.
    """
    return jax.tree.map(
        lambda x: jnp.swapaxes(x.reshape(x.shape[0] // parts, parts, *x.shape[1:]), 0, 1), batch
    )


def gradients(
    method: Method,
    params: Tree,
    extras: Extras,
    batch: Batch,
    rngs: jax.Array,
    spread: Callable[[Tree], Tree] = lambda tree: tree,
    gather: Callable[[Tree], Tree] = lambda tree: tree,
) -> tuple[Tree, jax.Array, dict[str, Mean], Extras]:
    """Gradient of the objective over a batch cut into `len(rngs)` micro-batches.

    Args:
      method: whose loss is differentiated.
      params: at which it is.
      extras: as the loss receives them.
      batch: the whole batch.
      rngs: a key for each micro-batch.
      spread: places gradients where they are summed up, such as parts of them on each device.
      gather: places them as the parameters are.

    Returns (gradients, loss, metrics, extras). With named losses the result is that of the whole batch at once, however
    unevenly the weights fall: a first pass asks the loss for its weights only (the compiler drops the rest of the model
    from it), and each micro-batch is then differentiated against the whole batch's weights.
    """
    parts = rngs.shape[0]

    def scalar(params: Tree, extras: Extras, batch: Batch, rng: jax.Array, weights: Tree) -> tuple:
        losses, aux = method.loss(params, extras, batch, rng)
        if isinstance(losses, Mapping):
            loss, metrics = objective(losses, weights), {**losses, **aux.metrics}
        else:
            loss, metrics = losses / parts, aux.metrics
        means = {name: Mean(*map(jnp.float32, mean)) for name, mean in metrics.items()}
        return loss, (means, aux.extras)

    differentiate = jax.value_and_grad(scalar, has_aux=True)
    if parts == 1:
        (loss, (metrics, extras)), grads = differentiate(params, extras, batch, rngs[0], None)
        return spread(grads), loss, metrics, extras

    micro_batches = split_batch(batch, parts)

    def weigh(part: tuple[Batch, jax.Array]) -> dict[str, jax.Array]:
        losses, _ = method.loss(params, extras, *part)
        return {name: weight for name, (_, weight) in losses.items()} if isinstance(losses, Mapping) else {}

    weights = jax.tree.map(lambda x: x.sum(0), jax.lax.map(weigh, (micro_batches, rngs)))

    def accumulate(carry: tuple, part: tuple[Batch, jax.Array]) -> tuple[tuple, None]:
        sums, extras = carry
        (loss, (metrics, extras)), grads = differentiate(params, extras, *part, weights)
        # Whole first: the compiler for TPUs makes 2 % faster loops of it (GPT-2 small on v5e:4x4).
        return (jax.tree.map(jnp.add, sums, (spread(gather(grads)), loss, metrics)), extras), None

    first = jax.tree.map(lambda x: x[0], micro_batches)
    (loss, (metrics, _)), grads = jax.eval_shape(differentiate, params, extras, first, rngs[0], weights)
    grads, *others = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (grads, loss, metrics))
    zeros = (spread(grads), *others)
    (sums, extras), _ = jax.lax.scan(accumulate, (zeros, extras), (micro_batches, rngs))
    return (*sums, extras)


def metric_names(method: Method, batch: Batch) -> tuple[str, ...]:
    """Names of the metrics that a step of this method accumulates. `batch` may hold only shapes."""

    def metrics(batch: Batch) -> dict[str, Mean]:
        params, extras = split_variables(method.init(jax.random.key(0), batch))
        losses, aux = method.loss(params, extras, batch, jax.random.key(0))
        return merge_metrics(losses if isinstance(losses, Mapping) else {}, aux.metrics)

    return ("loss", "grad_norm", *jax.eval_shape(metrics, batch))


def make_train_step(
    method: Method,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    micro_batches: int = 1,
    spread: Callable[[Tree], Tree] = lambda tree: tree,
    gather: Callable[[Tree], Tree] = lambda tree: tree,
) -> TrainStep:
    """The pure function `(state, batch) -> (state, bad_step)`, to be compiled by the caller.

    Args:
      method: what is trained.
      optimizer: its update rule.
      seed: of the randomness of the loss.
      micro_batches: parts of a batch that are differentiated one after the other.
      spread: places parameters and gradients where the update is computed.
      gather: places new parameters where the state has them.

    A step whose loss or gradient is not finite changes neither parameters nor optimiser nor extras; it records itself
    in `bad_step`, and every later step then leaves the state alone, until the loop has seen it. A step that makes
    infinite parameters of a finite loss and gradient records itself, too, but the state has these parameters: holding
    the update back until all of it is known would cost a second pass over parameters and optimiser state. The loop
    saves no state with a `bad_step`. `bad_step` is returned a second time, so that it can be looked at when the state
    has been donated to the next step.
    """

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, jax.Array]:
        step = state.step + 1
        rngs = jax.vmap(lambda part: step_rng(seed, step, part))(jnp.arange(micro_batches))
        grads, loss, metrics, extras = gradients(
            method, state.params, state.extras, batch, rngs, spread, gather
        )
        grad_norm = optax.tree.norm(grads)
        before = spread(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, before)
        finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        sound = finite & (state.bad_step == 0)

        def keep(new: Tree, old: Tree) -> Tree:
            return jax.tree.map(lambda new, old: jnp.where(sound, new, old), new, old)

        params = spread(keep(optax.apply_updates(before, updates), before))
        # The parameters tell of their updates, which then need not be in memory.
        good = finite & jnp.isfinite(optax.tree.norm(params))
        params = gather(params)
        extras = method.after_update(params, extras, step)
        one = jnp.float32(1)
        metrics = {"loss": Mean(loss, one), "grad_norm": Mean(grad_norm, one), **metrics}
        summed = jax.tree.map(jnp.add, state.metrics, metrics)
        kept = keep((extras, opt_state, summed), (state.extras, state.opt_state, state.metrics))
        extras, opt_state, metrics = kept
        bad_step = jnp.where((state.bad_step == 0) & ~good, step, state.bad_step)
        return TrainState(step, params, extras, opt_state, metrics, bad_step), bad_step

    return train_step


def make_initial_state(
    method: Method, optimizer: optax.GradientTransformation, *, batch: Batch, seed: int
) -> Callable[[], TrainState]:
    """A function without arguments that makes the first state; trace it for shapes, or compile it sharded."""
    names = metric_names(method, batch)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), batch)
    return lambda: initial_state(method, optimizer, names, zeros, seed)
