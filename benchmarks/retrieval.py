"""The mean reciprocal rank of translations among 10,000 candidates, beside faiss' flat index in the same run.

    tests/parity/run.sh python -m benchmarks.retrieval [--rounds 5] [--pairs 10000] [--width 768]

Random vectors, and the same with noise, are the embeddings of two languages; each query looks for its translation by
the cosine, in both directions, with two threads. Ours is `retrieval_ranks`, which has the exact rank of each
translation; faiss' `IndexFlatIP` finds the ten nearest candidates, and the reciprocal rank of a translation that is not
among them counts as 0. Each side is a process of its own, so that its peak of memory is its own. They take turns.

`retrieval_ranks` alone on 100,000 pairs of 768 numbers: 226 s a direction, 68 GFLOP/s, 2.4 GB for the whole process,
half of them the vectors (27 November 2026, 2 AMD cores that other programs used too).

faiss-cpu is not among the requirements: `pip install faiss-cpu` in .venv-parity.
"""

import argparse
import statistics

import numpy as np

from benchmarks.turns import Side, ratio, serve, take_turns, timed

THREADS, NEAREST, NOISE = 2, 10, 8.0
OURS, PEER = "ssl_jax", "faiss"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        functions = {OURS: ours, PEER: peer}[arguments.serve](*vectors(arguments.pairs, arguments.width))
        serve({name: lambda function=function: function() for name, function in functions.items()})
        return
    shape = ("--pairs", str(arguments.pairs), "--width", str(arguments.width))
    sides = {name: Side("benchmarks.retrieval", "--serve", name, *shape) for name in (OURS, PEER)}
    seconds = take_turns(
        {name: lambda side=side: side.ask("search") for name, side in sides.items()}, arguments.rounds
    )
    print(
        f"{arguments.pairs:,} pairs of width {arguments.width}, both directions, medians of {arguments.rounds} rounds"
    )
    for name, times in seconds.items():
        faster = "" if name == OURS else f"   ssl_jax is {ratio(times, seconds[OURS]):.2f} times as fast"
        print(
            f"  {name:8} {statistics.median(times):6.2f} s   MRR {sides[name].ask('mrr'):.4f}   "
            f"{sides[name].ask('memory'):,.0f} MiB at most{faster}"
        )
    for side in sides.values():
        side.close()


def vectors(pairs, width):
    """Unit vectors of the two languages."""
    chance = np.random.default_rng(0)
    first = chance.normal(size=(pairs, width)).astype(np.float32)
    second = first + NOISE * chance.normal(size=first.shape).astype(np.float32)
    return tuple(of / np.linalg.norm(of, axis=1, keepdims=True) for of in (first, second))


def ours(first, second):
    from ssl_jax.evals.retrieval import mean_reciprocal_rank, retrieval_ranks

    def search(calls=1):
        return [retrieval_ranks(*sides) for _ in range(calls) for sides in ((first, second), (second, first))]

    return {
        "search": lambda: timed(search, 1),
        "mrr": lambda: float(np.mean([mean_reciprocal_rank(ranks) for ranks in search()])),
    }


def peer(first, second):
    import faiss

    faiss.omp_set_num_threads(THREADS)

    def search(calls=1):
        found = []
        for _ in range(calls):
            for queries, candidates in ((first, second), (second, first)):
                index = faiss.IndexFlatIP(candidates.shape[1])
                index.add(candidates)
                found.append(index.search(queries, NEAREST)[1])
        return found

    def mrr():
        places = [of == np.arange(len(of))[:, None] for of in search()]
        return float(np.mean([np.where(of.any(1), 1 / (1 + of.argmax(1)), 0).mean() for of in places]))

    return {"search": lambda: timed(search, 1), "mrr": mrr}


if __name__ == "__main__":
    main()
