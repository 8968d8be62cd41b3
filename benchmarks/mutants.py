"""Whether the tests notice it when the code is changed at random.

    make mutants                                      ten mutants of each module below
    make mutants MUTANTS="--seed 7 --each 25 sidecar/account/healing.py"

A mutant is a module with one small change that mutmut or one of the operators here makes; it is
tried against that module's own test module alone, in a copy of the tree.  The same seed chooses
the same mutants.  Two kinds are left out: those that no test can notice, because they do the same
(mutants.toml lists them, with the reason), and those that mypy refuses, because `make check` lets
nobody write them (as Stryker's TypeScript checker leaves out its own).  The exit code is 1 if
fewer than 95 of 100 of the others are noticed.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import libcst as cst
from libcst.metadata import MetadataWrapper
from mutmut.mutation.file_mutation import MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import get_ignored_lines

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"
EQUIVALENT = Path(__file__).with_name("mutants.toml")

MODULES = (
    "sidecar/signing/sign*.py",
    "sidecar/http/*.py",
    "sidecar/jira/*.py",
    "sidecar/access/*.py",
    "sidecar/account/*.py",
    "sidecar/downstream/bodies.py",
    "sidecar/upstream/exchange.py",
    "sidecar/proxy/*.py",
)
"""The pure modules, those that heal and those that relay."""

NOTICED, MISTYPED, SURVIVED = "noticed", "mistyped", "survived"
ENOUGH = 0.95
BOUND = 10.0
"""Seconds that a mutant may take beyond three times what its tests take on the code as it is."""


class Mutant(NamedTuple):
    """A module with one change."""

    module: str
    line: int
    before: str
    after: str
    code: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}\n    - {self.before}\n    + {self.after}"


# --- what is changed ---


def _dropped(node: cst.Expr) -> Iterator[cst.CSTNode]:
    """A call whose result nobody uses is not made."""
    if isinstance(node.value, cst.Call | cst.Await):
        yield cst.Pass()


def _negated(node: cst.If) -> Iterator[cst.CSTNode]:
    """`if not (condition):`"""
    inner = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    yield node.with_changes(test=cst.UnaryOperation(cst.Not(), inner))


def _nothing(node: cst.Return) -> Iterator[cst.CSTNode]:
    """`return None`"""
    if node.value is not None:
        yield node.with_changes(value=cst.Name("None"))


OPERATORS = [*mutation_operators, (cst.Expr, _dropped), (cst.If, _negated), (cst.Return, _nothing)]


def mutants(module: str, dice: random.Random) -> Iterator[Mutant]:
    """All mutants of a module, shuffled so that each kind of change comes as often as others."""
    source = (ROOT / module).read_text()
    wrapper = MetadataWrapper(cst.parse_module(source))
    visitor = MutationVisitor(OPERATORS, get_ignored_lines(module, source, wrapper))
    tree = wrapper.visit(visitor)
    kinds = defaultdict(list)
    for change in visitor.mutations:
        if not _is_text(change.original_node):
            kinds[type(change.original_node)].append(change)
    for changes in kinds.values():
        dice.shuffle(changes)
    while kinds:
        kind = dice.choice(list(kinds))
        change = kinds[kind].pop()
        if not kinds[kind]:
            del kinds[kind]
        code = tree.deep_replace(change.original_node, change.mutated_node).code
        if code != source and (mutant := _described(module, source, code)):
            yield mutant


def _is_text(node: cst.CSTNode) -> bool:
    """Whether it is a sentence for people: tests that hold each word would be a second copy."""
    if isinstance(node, cst.SimpleString | cst.ConcatenatedString | cst.FormattedString):
        return " " in cst.Module([]).code_for_node(node).strip("\"' ")
    return isinstance(node, cst.Decorator)


def _described(module: str, source: str, code: str) -> Mutant | None:
    """What differs; None where it is a class's decorator, which changes what an object weighs."""
    old, new = source.splitlines(), code.splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    blocks = [block for block in matcher.get_opcodes() if block[0] != "equal"]
    _, first, last, other_first, _ = blocks[0]
    other_last = blocks[-1][4]
    last = blocks[-1][2]
    before = " ".join(line.strip() for line in old[first:last])
    after = " ".join(line.strip() for line in new[other_first:other_last])
    if before.startswith("@dataclass"):
        return None
    return Mutant(module, first + 1, before, after, code)


def sample(modules: list[str], each: int, seed: int) -> list[Mutant]:
    """So many mutants of each module, without those that are listed as equivalent."""
    listed = {
        (entry["module"], entry["before"], entry["after"])
        for entry in tomllib.loads(EQUIVALENT.read_text()).get("mutant", [])
    }
    found = []
    for module in modules:
        # A module's mutants do not depend on which other modules are asked for.
        chosen = (
            mutant
            for mutant in mutants(module, random.Random(f"{seed} {module}"))
            if (module, mutant.before, mutant.after) not in listed
        )
        found += [mutant for mutant, _ in zip(chosen, range(each), strict=False)]
    return found


# --- whether it is noticed ---


@dataclass
class Copy:
    """A copy of the tree, where one mutant at a time is tried."""

    folder: Path

    async def passes(self, module: str, seconds: float) -> bool:
        """Run the module's tests; what takes too long does not pass."""
        options = ("-x", "-q", "--hypothesis-seed=0", "-p", "no:cacheprovider")
        return await self._succeeds(seconds, "pytest", *options, str(tests_of(module)))

    async def has_right_types(self) -> bool:
        """Whether mypy finds nothing wrong in the whole package."""
        return await self._succeeds(600.0, "mypy", "sidecar")

    async def _succeeds(self, seconds: float, *command: str) -> bool:
        process = await asyncio.create_subprocess_exec(
            PYTHON,
            "-m",
            *command,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(seconds):
                return await process.wait() == 0
        except TimeoutError:
            return False
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()

    async def finds(self, mutant: Mutant, seconds: float) -> str:
        """What comes of a mutant: NOTICED by its tests, MISTYPED, or SURVIVED."""
        file = self.folder / mutant.module
        whole = file.read_text()
        file.write_text(mutant.code)
        try:
            if not await self.passes(mutant.module, seconds):
                return NOTICED
            return SURVIVED if await self.has_right_types() else MISTYPED
        finally:
            file.write_text(whole)


@contextmanager
def copies(count: int) -> Iterator[asyncio.Queue[Copy]]:
    """So many copies of what is in the work tree."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    files = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    with tempfile.TemporaryDirectory(prefix="mutants-") as place:
        free: asyncio.Queue[Copy] = asyncio.Queue()
        for number in range(count):
            for name in files:
                target = Path(place, str(number), name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
            free.put_nowait(Copy(Path(place, str(number))))
        yield free


def tests_of(module: str) -> Path:
    """The test module of a module."""
    path = Path(module)
    return Path("tests", *path.parts[1:-1], f"test_{path.name}")


class Trial:
    """Tries mutants in several copies at a time, until all are tried or the time is over."""

    def __init__(self, free: asyncio.Queue[Copy], minutes: float) -> None:
        self._free = free
        self._end = time.monotonic() + minutes * 60
        self._seconds: dict[str, float] = {}
        self.noticed: dict[str, list[bool]] = defaultdict(list)
        self.mistyped = 0

    async def on_the_code_as_it_is(self, module: str) -> None:
        """Take the time that a module's tests need; they and mypy must find nothing."""
        copy = await self._free.get()
        started = time.monotonic()
        fine = await copy.passes(module, 600.0)
        self._seconds[module] = time.monotonic() - started
        if not fine or not await copy.has_right_types():
            sys.exit(f"{tests_of(module)} or mypy fails on the code as it is")
        self._free.put_nowait(copy)

    async def on(self, mutant: Mutant) -> None:
        """Try a mutant, and show it if nothing notices it."""
        copy = await self._free.get()
        try:
            if time.monotonic() < self._end:
                bound = 3 * self._seconds[mutant.module] + BOUND
                self._note(mutant, await copy.finds(mutant, bound))
        finally:
            self._free.put_nowait(copy)

    def _note(self, mutant: Mutant, found: str) -> None:
        if found == MISTYPED:
            self.mistyped += 1
            return
        self.noticed[mutant.module].append(found == NOTICED)
        if found == SURVIVED:
            print(f"survived: {mutant}", flush=True)


async def run(modules: list[str], each: int, seed: int, jobs: int, minutes: float) -> bool:
    """Try mutants of these modules; whether enough were noticed."""
    chosen = sample(modules, each, seed)
    with copies(jobs) as free:
        trial = Trial(free, minutes)
        await asyncio.gather(*map(trial.on_the_code_as_it_is, {each.module for each in chosen}))
        await asyncio.gather(*map(trial.on, chosen))
    return report(trial.noticed, trial.mistyped, len(chosen))


def report(noticed: dict[str, list[bool]], mistyped: int, wanted: int) -> bool:
    """Print what became of the mutants, by module and in all."""
    for module, results in sorted(noticed.items()):
        print(f"{sum(results):4} of {len(results):<4} {module}")
    tried = sum(map(len, noticed.values()))
    share = sum(map(sum, noticed.values())) / max(tried, 1)
    late = wanted - tried - mistyped
    print(
        f"{share:.1%} of {tried} mutants noticed; {mistyped} more are refused by mypy alone"
        + (f", {late} were not tried in time" if late else "")
    )
    return share >= ENOUGH


def main() -> None:
    """Try what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/mutants.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", type=int, default=10, help="mutants of each module")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, default=60.0, help="no more are begun after that")
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    options = parser.parse_args()
    os.chdir(ROOT)
    found = [str(path) for pattern in MODULES for path in sorted(Path().glob(pattern))]
    modules = options.modules or [name for name in found if tests_of(name).exists()]
    fine = asyncio.run(run(modules, options.each, options.seed, options.jobs, options.minutes))
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
