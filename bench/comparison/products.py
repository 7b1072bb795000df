"""The matrix products of a language model of 6 layers and width 512: ours beside the `gemm` crate, `faer` and OpenBLAS."""
import subprocess

from . import process
from .environment import BENCH, ROOT

# A batch of 4 x 512 tokens; the head works on 512 tokens at a time. Every map once forward, for its input and for its weight.
ROWS, CHUNK, D, VOCABULARY, LAYERS = 2048, 512, 512, 50304, 6
MAPS = [("qkv", ROWS, 3 * D, D, LAYERS), ("dense", ROWS, D, D, LAYERS), ("up", ROWS, 4 * D, D, LAYERS), ("down", ROWS, D, 4 * D, LAYERS),
        ("head", CHUNK, VOCABULARY, D, ROWS // CHUNK)]
LIBRARIES = ["temper", "gemm", "faer", "openblas"]


def products():
    """(name, "M,N,K,NT", times in an update)."""
    for name, rows, out, inner, times in MAPS:
        yield f"{name} forward", f"{rows},{out},{inner},NT", times
        yield f"{name} input", f"{rows},{inner},{out},NN", times
        yield f"{name} weight", f"{out},{inner},{rows},TN", times


def compare(python, args):
    """Seconds of every product by every library, the median of the rounds."""
    process.say("products: building bench/gemm ...")
    folder = ROOT / "target/bench-gemm"
    build = ["cargo", "build", "--release", "--quiet", "--locked", "--manifest-path", BENCH / "gemm/Cargo.toml", "--target-dir", folder]
    if subprocess.run(build).returncode != 0:
        raise process.Failed("bench/gemm: cargo build failed")
    texts = [text for _, text, _ in products()]
    repeats = "3" if args.quick else "9"
    rust = [folder / "release/temper-bench-gemm", str(args.threads), repeats, *texts]
    numpy = [python, BENCH / "gemm_numpy.py", repeats, *texts]
    seconds = {}
    for _ in range(args.rounds):
        for command in (rust, numpy):
            for line in process.run(command, {"OPENBLAS_NUM_THREADS": str(args.threads)})[2].splitlines():
                text, library, value = line.split()
                seconds.setdefault((text, library), []).append(float(value))
    rows = []
    for name, text, times in products():
        m, n, k = map(int, text.split(",")[:3])
        rows.append({"name": name, "m": m, "n": n, "k": k, "layout": text[-2:], "times": times,
                     "seconds": {library: process.median(seconds[text, library]) for library in LIBRARIES}})
    total = {library: sum(row["times"] * row["seconds"][library] for row in rows) for library in LIBRARIES}
    # The best library for every product by itself, and the best one for all of them.
    best_each = sum(row["times"] * min(s for library, s in row["seconds"].items() if library != "temper") for row in rows)
    best = min(s for library, s in total.items() if library != "temper")
    return {"products": rows, "total_seconds": total, "share_of_best": best / total["temper"], "share_of_best_of_each": best_each / total["temper"]}


def show(result):
    speed = lambda row, seconds: f"{2e-9 * row['m'] * row['n'] * row['k'] / seconds:.0f}"
    rows = [[row["name"], f"{row['m']} x {row['n']} x {row['k']}", row["layout"], *[speed(row, row["seconds"][library]) for library in LIBRARIES],
             f"{100 * min(s for l, s in row['seconds'].items() if l != 'temper') / row['seconds']['temper']:.0f} %"] for row in result["products"]]
    print(f"\nproducts of GPT-NeoX 6 x 512, GFLOP/s\n\n{process.table(['product', 'M x N x K', 'stored', *LIBRARIES, 'of the best'], rows)}\n")
    total = ", ".join(f"{library} {seconds:.3f}" for library, seconds in result["total_seconds"].items())
    print(f"all products of an update, seconds: {total}")
    print(f"share of the best library: {100 * result['share_of_best']:.0f} %, of the best for each product {100 * result['share_of_best_of_each']:.0f} %; asked 75 %")
