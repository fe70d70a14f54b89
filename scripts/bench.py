"""Times whole commands against ninja. Called by bench.sh with the path of the binary."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WIDE = 1000
LONG = 200


def fan_pipeline(width):
    cells = ",".join(map(str, range(width)))
    return (
        "pipeline: fan\nsteps:\n"
        '  root: {run: "echo root > $OUT_ROOT"}\n'
        f'  leaf: {{in: {{root: root}}, matrix: {{n: [{cells}]}}, run: "echo $MATRIX_N > $OUT_LEAF"}}\n'
        '  join: {in: {leaves: leaf}, run: "echo done > $OUT_JOIN"}\n'
    )


def fan_ninja(width):
    leaves = "".join(f"build out/{n}: sh out/root\n  cmd = echo {n} > out/{n}\n" for n in range(width))
    names = " ".join(f"out/{n}" for n in range(width))
    return (
        'rule sh\n  command = sh -eu -c "$cmd"\n'
        "build out/root: sh\n  cmd = echo root > out/root\n"
        f"{leaves}build out/join: sh {names}\n  cmd = echo done > out/join\n"
    )


def chain_pipeline(length):
    steps = ['  s0: {run: "echo 0 > $OUT_S0"}']
    steps += [f'  s{n}: {{in: {{x: s{n - 1}}}, run: "echo {n} > $OUT_S{n}"}}' for n in range(1, length)]
    return "pipeline: chain\nsteps:\n" + "\n".join(steps) + "\n"


def big_plan(cells):
    axis = ",".join(map(str, range(cells // 100)))
    other = ",".join(map(str, range(100)))
    return f'pipeline: big\nsteps:\n  leaf: {{matrix: {{a: [{axis}], b: [{other}]}}, run: "true"}}\n'


def timed(command, folder):
    """Wall time in milliseconds; fails with the command's own words."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    elapsed = (time.perf_counter() - start) * 1000
    if done.returncode:
        sys.exit(f"{command}: {done.stderr or done.stdout}")
    return elapsed


def peak_of_children_mib():
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def row(what, values, unit="ms"):
    print(f"{what:<52} {statistics.median(values):9.2f} {unit:<5} ({min(values):.2f} … {max(values):.2f})")


def main():
    binary = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    jobs = sys.argv[3] if len(sys.argv) > 3 else "4"
    run = [binary, "run", "--quiet", "--jobs", jobs]
    root = Path(tempfile.mkdtemp(prefix="runstone-bench-"))
    print(f"{os.cpu_count()} cores, {rounds} alternations, {jobs} jobs, in {root} (not deleted)\n")

    ninja, cold, nothing = [], [], []
    for n in range(rounds):
        theirs, ours = root / f"ninja{n}", root / f"run{n}"
        theirs.mkdir()
        ours.mkdir()
        (theirs / "build.ninja").write_text(fan_ninja(WIDE))
        (ours / "pipeline.yaml").write_text(fan_pipeline(WIDE))
        ninja.append(timed(["ninja", f"-j{jobs}"], theirs))
        cold.append(timed(run, ours))
        nothing.append(timed(run, ours))
    row(f"fan-out of {WIDE}, ninja (records nothing)", ninja)
    row(f"fan-out of {WIDE}, runstone", cold)
    row("ratio", [b / a for a, b in zip(ninja, cold)], "")
    row(f"nothing to do, {WIDE} tasks", nothing)

    hops = []
    for n in range(3):
        folder = root / f"chain{n}"
        folder.mkdir()
        (folder / "pipeline.yaml").write_text(chain_pipeline(LONG))
        hops.append(timed(run, folder) / LONG)
    row(f"chain of {LONG}, each hop", hops)

    folder = root / "plan"
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(big_plan(100_000))
    row("plan of 100,000 tasks by matrix", [timed([binary, "plan"], folder) for _ in range(3)])
    (folder / "pipeline.yaml").write_text(chain_pipeline(100_000))
    row("plan of 100,000 written steps", [timed([binary, "plan"], folder) for _ in range(3)])
    print(f"{'peak memory of any command so far':<52} {peak_of_children_mib():9.2f} MiB")

    row("--version", [timed([binary, "--version"], root) for _ in range(20)])

    folder = root / "ten-thousand"
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(fan_pipeline(10_000))
    row("fan-out of 10,000", [timed(run, folder)])
    print(f"{'peak memory of any command so far':<52} {peak_of_children_mib():9.2f} MiB")


if __name__ == "__main__":
    main()
