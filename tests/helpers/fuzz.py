"""Change files at random and read them: nothing but one-line errors and right results may come.

``fuzz.py`` tries every kind of files, each in its own process with little more memory than it has::

    fuzz.py [KIND ...] [--minutes M] [--seed S] [--case N] [--out FOLDER]

What went wrong is kept as it was read, in ``FOLDER/wrong/KIND-SEED-CASE``, with the error. The
same seed and case change the same files again: ``fuzz.py KIND --seed S --case N``.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from sgurinit.errors import InputError

if TYPE_CHECKING:
    from fuzz_changes import Kind

# Names of the kinds in the modules that have them, which take long to import.
MODULES = {
    "fuzz_readers": ("logs", "layouts", "vectors", "streams", "archives"),
    "fuzz_values": ("log-values", "layout-values"),
    "fuzz_objects": ("start", "model", "store", "graph", "run", "arrays"),
    "fuzz_work": (
        "stream-work",
        "encode-work",
        "compare-work",
        "study-work",
        "compared",
        "studies",
    ),
}
KINDS = {kind: module for module, kinds in MODULES.items() for kind in kinds}
# Beyond what is in use once whole files were read.
MORE_MEMORY = 2 << 30
# One case, at most.
SECONDS = 120
FEWEST = 10
MOST_CHARACTERS = 20_000
PAUSE = 10.0


class Fuzzer:
    """Tries cases of a kind in a folder, and counts what came of them."""

    def __init__(self, kind: str, seed: int, folder: Path) -> None:
        self.kind, self.seed, self.folder = kind, seed, folder / kind
        self.kept = folder / "wrong"
        self.files: Kind = importlib.import_module(KINDS[kind]).KINDS[kind]()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.whole, self.work = self.folder / "whole", self.folder / "work"
        self.work.mkdir(parents=True)
        os.environ["SGURINIT_CACHE"] = str(self.work / "cache")
        # Written where they are read, since some files name others.
        self.files.write(self.work)
        self.work.rename(self.whole)
        found = sorted(path for path in self.whole.rglob(self.files.pattern) if path.is_file())
        self.paths = [path.relative_to(self.whole) for path in found]
        step = max(1, len(self.paths) // 3)
        for path in self.paths[::step] if self.files.readable else ():
            self.restore(self.work)
            self.files.read(self.work, str(path), random.Random(0), forged=False)  # noqa: S311
        self.counts = {"tried": 0, "refused": 0, "accepted": 0}
        self.wrong: dict[str, str] = {}

    def restore(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.whole, folder)

    def make(self, case: int, folder: Path) -> tuple[str, random.Random, bool]:
        """Change files as this case does; return the changed file, and what reading needs."""
        rng = random.Random(f"{self.kind} {self.seed} {case}")  # noqa: S311 - no secret
        self.restore(folder)
        changed = rng.choice(self.paths)
        return str(changed), rng, self.files.change(folder, changed, rng)

    def try_case(self, case: int) -> str:
        """Try a case; return what went wrong, or nothing."""
        (self.folder / "case").write_text(f"{case}")
        changed, rng, forged = self.make(case, self.work)
        self.counts["tried"] += 1
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            self.files.read(self.work, changed, rng, forged=forged)
            self.counts["accepted"] += 1
        except InputError as error:
            self.counts["refused"] += 1
            if "\n" in str(error) or len(str(error)) > MOST_CHARACTERS:
                return self.keep(case, changed, "an error of many lines", str(error))
        except BaseException as error:  # a finding
            frames = traceback.extract_tb(error.__traceback__)
            own = [frame for frame in frames if "sgurinit" in frame.filename] or frames
            place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
            name = f"{type(error).__name__} at {place}"
            return self.keep(case, changed, name, traceback.format_exc())
        finally:
            faulthandler.cancel_dump_traceback_later()
        if measure_memory() > self.most:
            return self.keep(case, changed, "much memory", f"{measure_memory():,} bytes")
        return ""

    def keep(self, case: int, changed: str, what: str, detail: str) -> str:
        """Keep the files of a case, the first of each fault."""
        if what not in self.wrong:
            name = f"{self.kind}-{self.seed}-{case}"
            self.wrong[what] = f"{name} ({changed}): {detail.strip().splitlines()[-1][:300]}"
            self.make(case, self.kept / name)
            (self.kept / name / "fault.txt").write_text(f"{changed}\n{what}\n{detail}\n")
        return f"{what}\n{detail}"

    def run(self, seconds: float) -> None:
        """Try cases for some time, and say now and then how far it is."""
        self.most = measure_memory() + MORE_MEMORY
        limit_memory()
        begun = said = time.monotonic()
        case = 0
        while case < FEWEST or time.monotonic() < begun + seconds:
            fault = self.try_case(case)
            case += 1
            if time.monotonic() > said + PAUSE:
                said = time.monotonic()
                self.say()
            if fault.startswith("much memory"):
                break
        self.say()

    def say(self) -> None:
        facts = {"kind": self.kind, **self.counts, "wrong": self.wrong}
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()


def measure_memory() -> int:
    """Most memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MORE_MEMORY,) * 2)


def show(facts: dict[str, object]) -> None:
    """Print a line of numbers."""
    numbers = ", ".join(f"{facts[name]:,} {name}" for name in ("tried", "refused", "accepted"))
    print(f"{facts['kind']:<12} {numbers}, {len(facts['wrong'])} wrong", flush=True)  # noqa: T201


def fuzz(kind: str, seconds: float, seed: int, folder: Path) -> dict[str, object]:
    """Try a kind in its own process, since a fault could end it; return the counts."""
    words = [sys.executable, __file__, kind, "--seed", str(seed), "--out", str(folder)]
    facts: dict[str, object] = {"kind": kind, "tried": 0, "refused": 0, "accepted": 0, "wrong": {}}
    place = folder / kind
    place.mkdir(parents=True, exist_ok=True)
    with (place.with_suffix(".log")).open("w+") as log:
        with subprocess.Popen(
            [*words, "--child", str(seconds)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2"},
        ) as child:
            for line in child.stdout or ():
                facts = json.loads(line)
                show(facts)
        if child.returncode:
            log.seek(0)
            case = place / "case"
            at = case.read_text() if case.exists() else "none"
            end = log.read()[-3000:]
            wrong = {**facts["wrong"], f"the process ended with {child.returncode}": f"{at}: {end}"}
            facts["wrong"] = wrong
            show(facts)
    shutil.rmtree(place, ignore_errors=True)
    return facts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"default: {' '.join(KINDS)}")
    parser.add_argument("--minutes", type=float, default=3.0, help="for every kind; default: 3")
    parser.add_argument("--seed", type=int, default=0, help="another seed tries other changes")
    parser.add_argument("--case", type=int, help="try this case of one kind alone")
    parser.add_argument("--out", type=Path, default=Path("fuzz-out"), help="default: fuzz-out")
    parser.add_argument("--child", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    kinds, folder = given.kinds or list(KINDS), given.out.resolve()
    if unknown := sorted(set(kinds) - set(KINDS)):
        parser.error(f"no kind {', '.join(unknown)}; there are {', '.join(KINDS)}")
    if given.case is not None and len(kinds) != 1:
        parser.error("--case needs one kind")
    if given.child is None and given.case is None:
        found = [fuzz(kind, given.minutes * 60, given.seed, folder) for kind in kinds]
        wrong = {f"{one['kind']}: {what}": at for one in found for what, at in one["wrong"].items()}
        for what, where in wrong.items():
            print(f"\n{what}\n  {where}")  # noqa: T201
        if wrong:
            print(f"\nThe files are in {folder / 'wrong'}.")  # noqa: T201
        return int(bool(wrong))
    warnings.simplefilter("ignore")
    fuzzer = Fuzzer(kinds[0], given.seed, folder)
    if given.case is None:
        fuzzer.run(given.child)
        return 0
    fuzzer.most = measure_memory() + MORE_MEMORY
    fault = fuzzer.try_case(given.case)
    print(fault or json.dumps(fuzzer.counts))  # noqa: T201
    return int(bool(fault))


if __name__ == "__main__":
    sys.exit(main())
