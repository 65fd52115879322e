"""Draws every scheduler of the installed packs: docs/schedules.md, and a picture each in docs/schedules/.

python docs/schedules.py            writes them
python docs/schedules.py --check    exits with 1 if the page or a picture is missing, out of date or left over

A picture holds a digest of the rates that it shows. That is what is compared: how matplotlib writes a curve differs
from version to version.
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

import optim_core
from optim_core import schedules
from optim_core.catalog.specs import SchedulerSpec

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
PAGE, PICTURES = DOCS / "schedules.md", DOCS / "schedules"
STEPS = 100
BEGIN = f"""# Schedules

{STEPS} steps of each scheduler, for an lr of {schedules.BASE_LR:g} and a beta2 of {schedules.BETA2:g}. \
`optim-core show NAME` draws them in the terminal, with options of your own too: `optim-core show wsd --set \
decay_type=1-sqrt`. Generated: `python docs/schedules.py`.
"""


def section(spec: SchedulerSpec) -> str:
    """What the page says of one."""
    arguments = ", ".join(["optimizer", *([spec.example] if spec.example else [])])
    metric = " The metric never improves." if "metric" in spec.needs else ""
    return (
        f"## {spec.name}\n\n{spec.summary}{metric}\n\n"
        f"![{spec.sets} at steps 1 to {STEPS}](schedules/{spec.name}.svg)\n\n"
        f"`get_scheduler({spec.name!r})({arguments})`\n"
    )


def digest(rates: Sequence[float]) -> str:
    """What tells one curve from another, and does not tell the last digits of one machine from another's."""
    return hashlib.sha256(" ".join(f"{rate:.6f}" for rate in rates).encode()).hexdigest()[:16]


def picture(spec: SchedulerSpec, rates: Sequence[float]) -> str:
    """The curve as SVG."""
    style = {"svg.fonttype": "none", "svg.hashsalt": spec.name, "font.size": 8, "axes.spines.top": False}
    with mpl.rc_context({**style, "axes.spines.right": False}):
        figure = Figure(figsize=(5, 1.8), layout="constrained")
        axes = figure.add_subplot(xlabel="step", ylabel=spec.sets)
        axes.plot(range(1, len(rates) + 1), rates, color="#2b6cb0", linewidth=1.5)
        axes.set_ylim(bottom=0)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Description": digest(rates)})
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def main(check: bool) -> int:
    """Write or check; the exit status."""
    packs = sorted(path.parent.name for path in ROOT.glob("packs/*/pyproject.toml"))
    schedulers = [spec for pack in packs for spec in optim_core.find(pack=pack, kind="scheduler")]
    specs = sorted((spec for spec in schedulers if isinstance(spec, SchedulerSpec)), key=lambda spec: spec.name)
    rates = {spec.name: schedules.rates(spec, STEPS) for spec in specs}
    page = "\n".join([BEGIN, *map(section, specs)])

    stale = [] if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page else [PAGE]
    present = {path.stem: path for path in PICTURES.glob("*.svg")}
    stale += [path for name, path in present.items() if name not in rates]
    for name, curve in rates.items():
        if name not in present or digest(curve) not in present[name].read_text(encoding="utf-8"):
            stale.append(PICTURES / f"{name}.svg")
    if check:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not up to date: run python docs/schedules.py", file=sys.stderr)
        return int(bool(stale))

    PICTURES.mkdir(exist_ok=True)
    PAGE.write_text(page, encoding="utf-8")
    for path in set(stale) - {PAGE}:
        path.unlink(missing_ok=True)
    for spec in specs:
        path = PICTURES / f"{spec.name}.svg"
        if not path.exists():
            path.write_text(picture(spec, rates[spec.name]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
