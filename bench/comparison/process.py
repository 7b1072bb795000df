"""Running programs, with wall clock and peak memory; and how numbers are shown."""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time


# What keeps PyTorch, oneDNN, MKL and OpenBLAS from using AVX-512.
WITHOUT_AVX512 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}


class Failed(Exception):
    """A program that ended with an error."""


def run(command, env=None, cwd=None):
    """(seconds, peak memory in bytes, standard output) of a program; the memory is that of its largest process."""
    command = [str(part) for part in command]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env={**os.environ, **(env or {})}, cwd=cwd)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if process.returncode != 0:
            raise Failed(f"{' '.join(command)}: exit code {process.returncode}\n{err.read().decode(errors='replace')[-4000:]}")
        return seconds, usage.ru_maxrss * 1024, out.read().decode()


def run_json(command, env=None):
    """What a program prints as one JSON object."""
    return json.loads(run(command, env)[2])


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def median(values):
    return statistics.median(values)


def megabytes(size):
    return f"{size / 1e6:.0f}"


def table(head, rows):
    """Columns, the first to the left and the others to the right, as Markdown."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    line = lambda row: "| " + " | ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))) + " |"
    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])
