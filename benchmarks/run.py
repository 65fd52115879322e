"""Measure, and write what came out: JSON, a page and a plot.

python benchmarks/run.py                                      everything: an hour or two
python benchmarks/run.py --only adamw,lion --shapes small     a quick look
python benchmarks/run.py --results runs/benchmarks/results.json --write-docs    write the page anew
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":  # started as a script: the package that it is in is beside the current folder
    sys.path.insert(0, str(ROOT))

import optim_core  # noqa: E402 - after the line above
from benchmarks import contenders, first_step, measure, plot, report, traffic  # noqa: E402
from benchmarks.environment import environment  # noqa: E402
from benchmarks.memory import available_memory  # noqa: E402
from benchmarks.report import ROUNDS  # noqa: E402
from benchmarks.results import Absence, Results  # noqa: E402
from benchmarks.shapes import SHAPE_SETS  # noqa: E402
from benchmarks.timing import reason  # noqa: E402
from optim_core.catalog.registry import registry  # noqa: E402
from optim_core.catalog.specs import Spec  # noqa: E402

_BEGAN = time.monotonic()


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", type=_names, default=(), metavar="A,B", help="these methods; default: all")
    parser.add_argument("--shapes", type=_shapes, default=tuple(SHAPE_SETS), help=", ".join(SHAPE_SETS))
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default: {ROUNDS}")
    parser.add_argument("--engines", type=_names, default=("auto",), help="of our own; the first is compared")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds that one contender may take in all")
    parser.add_argument("--memory", type=float, help="GB that the contenders of a batch may hold")
    optional = argparse.BooleanOptionalAction
    parser.add_argument("--compile", action=optional, help="peers under torch.compile (slow); default: without --only")
    parser.add_argument("--first-step", action=optional, help="first-step latency (slow); default: without --only")
    parser.add_argument("--results", type=Path, help="measure nothing: read these, as --out holds them")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "benchmarks", help="folder for what comes out")
    parser.add_argument("--write-docs", action="store_true", help="write the page and the plot to docs/ too")
    options = parser.parse_args(argv)
    if options.write_docs and not options.results and options.rounds < ROUNDS:
        parser.error(f"--write-docs wants at least {ROUNDS} rounds")
    for name in ("compile", "first_step"):
        if getattr(options, name) is None:
            setattr(options, name, not options.only)
    return options


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in text.split(","))))


def _shapes(text: str) -> tuple[str, ...]:
    names = _names(text)
    if unknown := set(names) - set(SHAPE_SETS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: there is {', '.join(SHAPE_SETS)}")
    return names


def chosen(only: Sequence[str]) -> list[Spec]:
    """The specs to measure: of these names, or of every registered optimizer."""
    if only:
        return [registry().spec(name, "optimizer") for name in only]
    return optim_core.find(kind="optimizer")


def measured(options: argparse.Namespace) -> Results:
    """Measure everything that the options ask for; saved after every batch, so that an end halfway loses little."""
    shape_sets = [SHAPE_SETS[name] for name in options.shapes]
    results = Results(environment=environment(), rounds=options.rounds, engines=list(options.engines))
    adamw: Any = optim_core.get("adamw")
    one = adamw(measure.ONE.parameters())
    results.baseline_bytes = {s.name: traffic.bytes_moved(one, s.shapes) for s in shape_sets}
    specs = []
    for spec in chosen(options.only):
        try:
            results.methods.append(measure.described(spec, shape_sets))
            specs.append(spec)
        except Exception as error:  # noqa: BLE001 - one method that does not work leaves the others
            gone = {"shapes": "", "library": contenders.OURS, "setting": ""}
            results.absences.append(Absence(method=spec.name, reason=reason(error), **gone))
    memory = int(options.memory * 1e9) if options.memory else int(0.4 * available_memory())
    plan = measure.Plan(options.rounds, options.patience, memory, options.engines, options.compile)
    for shape_set in shape_sets:
        for measurements, absences in measure.measure(shape_set, specs, plan, log):
            results.measurements += measurements
            results.absences += absences
            results.save(options.out / "results.json")
    if options.first_step:
        rules = tuple(name for name in first_step.RULES if name in {spec.name for spec in specs})
        for found in first_step.first_steps((*rules, first_step.COMPILED_TORCH)):
            log(f"first step: {found}")
            results.first_steps.append(found)
    results.save(options.out / "results.json")
    return results


def write(results: Results, folder: Path) -> list[Path]:
    """Write the page and the plot."""
    folder.mkdir(parents=True, exist_ok=True)
    picture, text = folder / "benchmarks.svg", folder / "benchmarks.md"
    drawn = plot.svg(results)
    if drawn:
        picture.write_text(drawn, encoding="utf-8")
    text.write_text(report.page(results, picture.name if drawn else ""), encoding="utf-8")
    return [text, picture] if drawn else [text]


def log(text: str) -> None:
    """Say what is going on."""
    print(f"{time.monotonic() - _BEGAN:7.0f} s  {text}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line asks for."""
    options = arguments(argv)
    warnings.simplefilter("ignore", optim_core.NonCommercialWarning)
    logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)
    results = Results.load(options.results) if options.results else measured(options)
    written = write(results, options.out)
    if options.write_docs:
        written += write(results, ROOT / "docs")
    print(written[0].read_text(encoding="utf-8"))
    for path in written:
        print(path)


if __name__ == "__main__":
    main()
