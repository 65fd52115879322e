"""Runs the conformance kit over the optimizers of other libraries, and writes the second part of conformance.md.

python docs/conformance.py                          runs what conformance.toml names, and writes what is found
python docs/conformance.py --library timm           the same for one of them (may be repeated); the others' results stay
python docs/conformance.py --limit 10               gives up a check after so many seconds, not a minute
python docs/conformance.py MODULE:CLASS [CHECK]...  prints what the kit, or a check of it, says of one class
python docs/conformance.py --write                  writes the page from conformance.json; no library need be installed
python docs/conformance.py --check                  exits with 1 if the page is not up to date

What runs find is kept in conformance.json. Each library runs in a process of its own, and each
class in a fork of that one: whatever crashes or hangs is a row. Running needs a system that forks.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
import tomllib
import types
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from optim_core.catalog.targets import import_target
from optim_core.errors import InvalidOption
from optim_core.testing import Subject, all_checks
from optim_core.testing.run import cases, outcome, outcomes

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
models_of_timm = importlib.import_module("theirs").models_of_timm
RESULTS, PAGE = HERE / "conformance.json", HERE / "conformance.md"
BEGIN, END = "<!-- peers -->", "<!-- /peers -->"
#: Seconds for one check, unless `--limit` gives others; all checks of a class have four times as much.
CHECK_LIMIT = 60
#: Characters of a fault that are kept.
LONGEST = 240
#: First arguments of constructors that take something else than parameters, for which parameters are enough.
AROUND = ("optimizer", "base_optimizer", "model")
#: Classes of a library that a finding names.
MOST = 6

Row = dict[str, Any]


# preparing -------------------------------------------------------------------------------------------------------
def uncompiled_heavyball() -> None:
    """Switch off that heavyball compiles with max-autotune, which takes minutes a class on a CPU."""
    importlib.import_module("heavyball.utils").compile_mode = None  # type: ignore[attr-defined]


PREPARATIONS = {f.__name__: f for f in (models_of_timm, uncompiled_heavyball)}


# what is run -----------------------------------------------------------------------------------------------------
def libraries() -> list[Row]:
    """The entries of conformance.toml."""
    found: list[Row] = tomllib.loads((HERE / "conformance.toml").read_text(encoding="utf-8"))["library"]
    return found


def prepared(library: Row) -> types.ModuleType:
    """The module that a library has its optimizers in."""
    if "prepare" in library:
        PREPARATIONS[library["prepare"]]()
    return importlib.import_module(library["module"])


def classes(module: types.ModuleType) -> dict[str, Any]:
    """The optimizers that are a module's own, each under its first public name."""
    from torch.optim.optimizer import Optimizer

    found: dict[Any, str] = {}
    root = module.__name__.partition(".")[0]
    for name, cls in vars(module).items():
        public = isinstance(cls, type) and issubclass(cls, Optimizer) and cls is not Optimizer and name[0] != "_"
        if public and cls.__module__.partition(".")[0] == root:
            found.setdefault(cls, name)
    return {name: cls for cls, name in found.items()}


def wanted_beside(cls: Any, options: Mapping[str, Any]) -> str:
    """What a constructor asks for that conformance.toml does not give; empty if parameters are enough."""
    first, *rest = inspect.signature(cls).parameters.values()
    required = [p.name for p in rest if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    asked = [
        *([first.name] if first.name not in ("params", *AROUND) else []),
        *(n for n in required if n not in options),
    ]
    return ", ".join(asked)


def on_parameters(cls: Any) -> Any:
    """The class itself, or for one that wants an optimizer or a model a class that makes it from parameters."""
    import torch

    first, *rest = inspect.signature(cls).parameters.values()
    if first.name not in AROUND:
        return cls

    class Built(cls):  # type: ignore[misc]
        def __init__(self, params: Any, lr: float = 0.05, **options: Any) -> None:
            if first.name == "model":
                super().__init__(torch.nn.ParameterList(params), lr=lr, **options)
            else:
                super().__init__(torch.optim.SGD(params, lr=lr, momentum=0.9), **options)

    params = inspect.Parameter("params", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    lr = inspect.Parameter("lr", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=0.05)
    others = [p for p in rest if p.name != "lr"]
    Built.__signature__ = inspect.Signature([params, lr, *others])  # type: ignore[attr-defined]
    Built.__name__, Built.__qualname__, Built.__module__ = cls.__name__, cls.__qualname__, cls.__module__
    setattr(sys.modules[cls.__module__], cls.__name__, Built)  # where pickle looks for it
    return Built


def subject_of(library: Row, name: str, cls: Any) -> Subject:
    """A class, with what it needs told to the library as its user would."""
    import optim_core

    needs = library.get("needs", {}).get(name, ())
    cls = on_parameters(cls)
    if needs:
        optim_core.register(cls, license=library["license"], name=f"their_{name.lower()}", needs=tuple(needs))
    options = library.get("options", {}).get(name, {})
    return Subject(cls, {key: import_target(x) if isinstance(x, str) else x for key, x in options.items()})


# running ---------------------------------------------------------------------------------------------------------
def work(library: Row, name: str, cls: Any, done: Sequence[str], sender: Any) -> None:
    """Run the checks of a class that are not done, and send what comes of each; in a process of its own."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # some classes greet
    os.dup2(null, 2)
    for subject, check, _ in cases([subject_of(library, name, cls)]):
        if check.name in done:
            continue
        sender.send((check.name, "begins", ""))
        found = outcome(subject, check)
        sender.send((check.name, found.status, fault(found.text, found.subject, check)))
    sender.send(("", "ends", ""))


def fault(text: str, name: str, check: Any) -> str:
    """What is wrong, without the requirement and the remedy, and without what differs from machine to machine."""
    text = text.removeprefix(f"{name}: ").partition(f". {check.requirement} Remedy: ")[0]
    text = re.sub(r"0x[0-9a-f]{6,}", "0x...", re.sub(r"(/[\w.+-]+){2,}/", ".../", text))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def run_class(library: Row, name: str, cls: Any, limit: int) -> Iterator[tuple[str, str, str]]:
    """What comes of each check, as (check, status, text); a check that crashes or hangs ends its process only."""
    fork = multiprocessing.get_context("fork")
    done: list[str] = []
    end = time.monotonic() + 4 * limit
    while time.monotonic() < end:
        receiver, sender = fork.Pipe(duplex=False)
        child = fork.Process(target=work, args=(library, name, cls, done, sender))
        child.start()
        sender.close()
        current, status = "", ""
        try:
            while receiver.poll(limit):
                current, status, text = receiver.recv()
                if status == "ends":
                    child.join()
                    return
                if status != "begins":
                    done.append(current)
                    yield current, status, text
            child.kill()
            found = "unfinished", f"it takes more than {limit} s"
        except EOFError:
            child.join()
            found = "failed", f"the process ends with exit code {child.exitcode}"
        if status != "begins":
            yield "", *found
            return
        done.append(current)
        yield current, *found
    yield "", "unfinished", f"all checks together take more than {4 * limit} s"


def run_library(library: Row, limit: int) -> Iterator[Row]:
    """What comes of each class of a library, in the library's own process; its version first."""
    import torch

    torch.set_num_threads(1)
    module = prepared(library)
    yield {"version": importlib.metadata.version(library["distribution"]).partition("+")[0]}
    for name in classes(module):
        yield {"class": name, "not run": "the run ended before"}
    for name, cls in classes(module).items():
        asked = library.get("not_run", {}).get(name) or wanted_beside(cls, library.get("options", {}).get(name, {}))
        if asked:
            yield {"class": name, "not run": asked}
            continue
        row: Row = {"class": name, "passed": [], "failed": {}, "skipped": {}, "unfinished": {}}
        began = time.monotonic()
        for check, status, text in run_class(library, name, cls, limit):
            if status == "passed":
                row["passed"].append(check)
            else:
                row[status][check] = text
        print(f"{library['module']}:{name} {time.monotonic() - began:.0f} s {[*row['failed']]}", file=sys.stderr)
        yield row


def process(name: str, limit: int) -> None:
    """The process of one library: a line of JSON for each class on standard output, whatever else is printed aside."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    (library,) = (library for library in libraries() if library["distribution"] == name)
    for row in run_library(library, limit):
        print(json.dumps(row), file=out, flush=True)


def run(names: Sequence[str], limit: int) -> None:
    """Run libraries, each in a process of its own, and keep what comes of them."""
    listed = {library["distribution"]: library for library in libraries()}
    for name in names:
        if name not in listed:
            raise InvalidOption(f"conformance.toml has no library {name!r}")
    for name in names or listed:
        found: Row = {"module": listed[name]["module"], "not run": {}, "passed": Counter(), "classes": {}}
        command = [sys.executable, __file__, "--process", name, "--limit", str(limit)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:  # noqa: S603 - this script
            for line in running.stdout or ():
                add(found, json.loads(line))
                keep(name, found, list(listed))
        if running.returncode:
            found["error"] = f"its process ends with exit code {running.returncode}"
            keep(name, found, list(listed))


def add(found: Row, row: Row) -> None:
    """Enter what came of a class; of checks that pass only the number is kept."""
    if "class" not in row:
        found |= row
        return
    name = row.pop("class")
    if "not run" in row:
        found["not run"][name] = row["not run"]
        return
    found["not run"].pop(name, None)
    found["passed"].update(row["passed"])
    found["classes"][name] = {**row, "passed": len(row["passed"])}


def keep(name: str, found: Row, order: Sequence[str]) -> None:
    """Write what came of a library into conformance.json, beside what is there: another run may write at the time."""
    results = read()
    every = {**results.get("libraries", {}), name: found}
    python = ".".join(map(str, sys.version_info[:3]))
    text = json.dumps({"python": python, "libraries": {each: every[each] for each in order if each in every}}, indent=1)
    beside = RESULTS.with_suffix(f".{os.getpid()}")
    beside.write_text(f"{text}\n", encoding="utf-8")
    beside.replace(RESULTS)


def show(target: str, checks: Sequence[str]) -> int:
    """Print what the kit says of one class; the exit status."""
    module, _, name = target.partition(":")
    library = next((library for library in libraries() if library["module"] == module), {"module": module})
    cls = getattr(prepared(library), name)
    failed = 0
    for found in outcomes([subject_of(library, name, cls)], only=checks):
        failed += found.status == "failed"
        print(f"{found.status:<8} {found.check}  {found.text}", flush=True)
    return int(bool(failed))


# the page --------------------------------------------------------------------------------------------------------
def read() -> Row:
    """What the last run found."""
    found: Row = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return found


def findings() -> list[Row]:
    """The findings of conformance.toml, which says what their entries mean."""
    found: list[Row] = tomllib.loads((HERE / "conformance.toml").read_text(encoding="utf-8"))["finding"]
    return found


def ran(results: Row) -> dict[str, Row]:
    """The libraries that could be run."""
    return {name: found for name, found in results["libraries"].items() if "error" not in found}


def table(lines: Iterable[Iterable[Any]], *headers: str) -> str:
    """A Markdown table; only the first column is of words where all others are of numbers."""
    rows = [" | ".join(str(cell).replace("|", r"\|") for cell in line) for line in lines]
    return "\n".join([f"| {' | '.join(headers)} |", f"|{'---|' * len(headers)}", *(f"| {row} |" for row in rows)])


def counts(results: Row) -> str:
    """What was run, a line a library."""
    lines = []
    for name, found in results["libraries"].items():
        if "error" in found:
            lines.append([name, found["error"], *[""] * 7])
            continue
        rows = found["classes"].values()
        numbers = [sum(len(row[status]) for row in rows) for status in ("failed", "skipped", "unfinished")]
        clean = sum(not row["failed"] and not row["unfinished"] for row in rows)
        lines.append(
            [name, found["version"], len(rows), len(found["not run"]), clean, sum(found["passed"].values()), *numbers]
        )
    titles = ("classes", "not run", "without a failure", "checks passed", "failed", "not applicable", "unfinished")
    return table(lines, "library", "version", *titles)


def by_check(results: Row) -> str:
    """For each check and library, how many classes fail it, of those that it is about."""
    libraries_ran = ran(results)
    lines = []
    for check in all_checks():
        cells = []
        for found in libraries_ran.values():
            failed = sum(check in row["failed"] for row in found["classes"].values())
            about = failed + found["passed"].get(check, 0)
            cells.append(f"{failed} / {about}" if about else "")
        if any(cells):
            lines.append([f"`{check}`", *cells])
    return table(lines, "check", *libraries_ran)


def matching(finding: Row, results: Row) -> list[tuple[str, str, str]]:
    """What fails as a finding says: module, class and fault."""
    return [
        (found["module"], name, row["failed"][finding["check"]])
        for library, found in ran(results).items()
        if library in finding["libraries"]
        for name, row in found["classes"].items()
        if re.search(finding.get("like", ""), row["failed"].get(finding["check"], "no such failure"))
        and finding["check"] in row["failed"]
    ]


def command(module: str, name: str, check: str) -> str:
    """What shows a failure again."""
    library = next(library for library in libraries() if library["module"] == module)
    special = "prepare" in library or any(name in library.get(key, {}) for key in ("options", "needs"))
    if special:
        return f"python docs/conformance.py {module}:{name} {check}"
    return f"optim-core check {module}:{name} --check {check}"


def worst(results: Row) -> str:
    """The findings, each with the classes that it is about and a command that shows it."""
    parts = []
    for finding in findings():
        found = matching(finding, results)
        if not found:
            raise InvalidOption(f"no class fails {finding['check']} like {finding.get('like', '')!r} any more")
        module, name, shown = next((each for each in found if each[1] == finding.get("show")), found[0])
        where = []
        for library in dict.fromkeys(each[0] for each in found):
            names = [each[1] for each in found if each[0] == library]
            more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
            where.append(f"{library} {len(names)} ({', '.join(names[:MOST])}{more})")
        parts.append(
            f"**{finding['text']}** {'; '.join(where)}. {name}: {shown}.\n\n"
            f"```sh\n{command(module, name, finding['check'])}\n```"
        )
    return "\n\n".join(parts)


def not_run(results: Row) -> str:
    """The classes that were not run, with what they ask for."""
    lines = []
    for name, found in ran(results).items():
        for reason in dict.fromkeys(found["not run"].values()):
            names = [cls for cls, why in found["not run"].items() if why == reason]
            lines.append(f"- {name}, {reason}: {', '.join(names)}")
    return "\n".join(["Not run, with what they ask for beside parameters, or why:", "", *lines]) if lines else ""


def page() -> str:
    """The page as it should be."""
    results = read()
    parts = (
        f"Run with Python {results['python']} on a CPU.",
        counts(results),
        not_run(results),
        "Classes that fail a check, of those that it is about:",
        by_check(results),
        "### Findings",
        worst(results),
    )
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n" + "\n\n".join(part for part in parts if part) + f"\n\n{END}{after}"


def written(*, check: bool) -> int:
    """Write or check the page; the exit status."""
    text = page()
    if PAGE.read_text(encoding="utf-8") == text:
        return 0
    if check:
        print(f"{PAGE.name} is not up to date: run python docs/conformance.py --write", file=sys.stderr)
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


def main() -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", nargs="?")
    parser.add_argument("checks", nargs="*")
    parser.add_argument("--library", action="append", default=[])
    parser.add_argument("--process")
    parser.add_argument("--limit", type=int, default=CHECK_LIMIT)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    if given.process:
        process(given.process, given.limit)
        return 0
    if given.target:
        return show(given.target, given.checks)
    if not given.write and not given.check:
        run(given.library, given.limit)
    return written(check=given.check)


if __name__ == "__main__":
    sys.exit(main())
