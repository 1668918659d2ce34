"""Results as Markdown and PNG in `benchmarks/results/`, with the machine that made them named by kind."""

from __future__ import annotations

import os
import platform
import ssl
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")


def machine() -> str:
    """What it ran on, as far as it says something about the figures: how busy it was, too."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "openai"))
    return (
        f"{os.cpu_count()} shared cores, {platform.system()} {platform.release().split('-')[0]}, "
        f"{platform.python_implementation()} {platform.python_version()}, {libraries}, "
        f"{' '.join(ssl.OPENSSL_VERSION.split()[:2])}; load average {os.getloadavg()[0]:.1f}, ours included"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def keep(name: str, text: str) -> None:
    """Print `text` and keep it as `results/<name>.md`."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text.rstrip() + "\n")
    print(text)


def bars(name: str, title: str, unit: str, groups: Mapping[str, Mapping[str, float]]) -> None:
    """`results/<name>.png`: for each label in a group of `groups` a horizontal bar."""
    plots = _plots()
    if plots is None:
        return
    labels = list(dict.fromkeys(label for group in groups.values() for label in group))
    figure, axes = plots.subplots(figsize=(9, 0.5 + 0.5 * len(labels)), layout="constrained")
    height = 0.8 / len(groups)
    for index, (group, values) in enumerate(groups.items()):
        at = [row + index * height for row, label in enumerate(labels) if label in values]
        drawn = axes.barh(at, [values[label] for label in labels if label in values], height, label=group)
        axes.bar_label(drawn, fmt="%.2f", padding=2, fontsize=8)
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(labels))], labels)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.set_title(title)
    axes.legend()
    figure.savefig(RESULTS / f"{name}.png", dpi=110)


def lines(name: str, title: str, across: str, unit: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """`results/<name>.png`: points joined by lines, both axes logarithmic, so that linear growth is a straight line."""
    plots = _plots()
    if plots is None:
        return
    figure, axes = plots.subplots(figsize=(8, 4.5), layout="constrained")
    for label, points in series.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=label)
    axes.set(xscale="log", yscale="log", xlabel=across, ylabel=unit, title=title)
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(RESULTS / f"{name}.png", dpi=110)


def _plots() -> Any:
    try:
        import matplotlib as mpl
    except ImportError:
        print("no matplotlib here, so no plot: pip install matplotlib")
        return None
    mpl.use("Agg")  # no screen is needed
    import matplotlib.pyplot as plt

    return plt
