"""Times matrix products of NumPy, that is of the OpenBLAS it carries: gemm_numpy.py REPEATS PRODUCT...

Arguments and output are those of bench/gemm/src/main.rs; threads are what OPENBLAS_NUM_THREADS says.
"""
import statistics
import sys
import time

import numpy


def main():
    repeats = int(sys.argv[1])
    for text in sys.argv[2:]:
        *sizes, layout = text.split(",")
        m, n, k = map(int, sizes)
        values = numpy.random.default_rng(0)
        a = values.random((k, m) if layout[0] == "T" else (m, k), numpy.float32) - 0.5
        b = values.random((n, k) if layout[1] == "T" else (k, n), numpy.float32) - 0.5
        a, b = a.T if layout[0] == "T" else a, b.T if layout[1] == "T" else b
        c = numpy.empty((m, n), numpy.float32)
        seconds = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            numpy.matmul(a, b, out=c)
            seconds.append(time.perf_counter() - start)
        print(text, "openblas", statistics.median(seconds[1:]), flush=True)


if __name__ == "__main__":
    main()
