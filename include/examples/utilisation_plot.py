"""Which vehicles worked on which days, as a picture.

Question: Which vehicles are driven day after day, and which stand still?
Read it: One row per vehicle, most kilometres first; one column per UTC day, weekends under a line. The darker, the further it
    drove that day. A grey cell: it had data and did not move. A hatched cell: nothing is known of that day. An orange ring:
    the checks doubt the figure. The bars on the right count the days on which it moved, of those with data.
Limits: At most 40 vehicles are drawn: the 20 that drove most and the 20 that drove least, with a line between. Days are UTC
    days, so a ride over midnight counts in two. Distance alone does not say that a vehicle is needless.

Run it with `fleetlake examples run utilisation_plot`, or by itself when FLEETLAKE_WAREHOUSE_URL is set:
`python include/examples/utilisation_plot.py --output utilisation.svg --days 28`. It needs pandas and matplotlib.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

try:
    import matplotlib as mpl
except ImportError:
    raise SystemExit("this picture needs matplotlib: pip install matplotlib") from None

mpl.use("Agg")  # no screen needed

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from fleetlake.settings import Settings
from fleetlake.warehouse import Warehouse
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

QUERY = """
SELECT d.vehicle_key, v.name, d.day, d.distance_m / 1000 AS km, d.trips > 0 AS moved, d.trust_score
FROM fleet.vehicle_day d
JOIN fleet.vehicle v USING (vehicle_key)
WHERE d.day > (SELECT max(day) - {days} FROM fleet.vehicle_day)
"""
MOST = 40

INK, GREY, FAINT = "#1d2733", "#66727f", "#e7ebef"
BLUES = LinearSegmentedColormap.from_list("km", ["#dcebf7", "#8fbfe0", "#3a87bd", "#0f4f86", "#08284d"])
DOUBT, HATCH = "#e0701a", "#c3ccd5"


def read(days: int) -> pd.DataFrame:
    """Vehicle-days of the last ``days`` days that are loaded."""
    with Warehouse(Settings.from_env().require_warehouse()) as warehouse:
        columns, rows = warehouse.query(QUERY.format(days=days))
        frame = pd.DataFrame(list(rows), columns=columns)
    if frame.empty:
        raise SystemExit("fleet.vehicle_day is empty: load some days and build the fleet tables first")
    frame["day"] = pd.to_datetime(frame["day"])
    return frame


def chosen(frame: pd.DataFrame) -> list[str]:
    """Keys of the vehicles to draw, most kilometres first."""
    order = list(frame.groupby("vehicle_key")["km"].sum().sort_values(ascending=False, kind="stable").index)
    return order if len(order) <= MOST else order[: MOST // 2] + order[-MOST // 2 :]


def draw(frame: pd.DataFrame, target: Path) -> None:
    """Draw the picture into ``target``; its ending says in which format."""
    keys = chosen(frame)
    total = frame["vehicle_key"].nunique()
    days = pd.date_range(frame["day"].min(), frame["day"].max())

    def grid(column: str) -> pd.DataFrame:
        return frame.pivot_table(index="vehicle_key", columns="day", values=column).reindex(index=keys, columns=days)

    km, moved, trust = grid("km"), grid("moved").fillna(0) > 0, grid("trust_score")
    names = frame.drop_duplicates("vehicle_key").set_index("vehicle_key")["name"].reindex(keys)
    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "hatch.linewidth": 0.6})
    height, width = 2.35 + 0.27 * len(keys), max(9.0, 4.2 + 0.27 * len(days))
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(width, height), width_ratios=[max(len(days), 14), max(len(days), 14) / 4], sharey=True
    )
    figure.subplots_adjust(left=1.75 / width, right=1 - 0.3 / width, top=1 - 1.2 / height, bottom=0.95 / height, wspace=0.04)
    heat(left, km, moved, trust)
    left.set_yticks(range(len(keys)), [shortened(name) for name in names], fontsize=8.5)
    bars(right, moved.sum(axis=1), km.notna().sum(axis=1), len(days))
    if len(keys) < total:
        for axes in (left, right):
            axes.axhline(len(keys) / 2 - 0.5, color=INK, linewidth=1)
    legend(figure, left)
    seldom = int((frame.groupby("vehicle_key")["moved"].mean() < 0.5).sum())
    drawn = f"{total} vehicles" if len(keys) == total else f"the {MOST // 2} of {total} that drove most and least"
    for text, inches, style in (
        (headline(seldom, total), 0.32, {"fontsize": 14, "fontweight": "bold"}),
        (f"Kilometres per day, {spell(days)} (UTC), {drawn}", 0.6, {"fontsize": 9.5, "color": GREY}),
    ):
        figure.text(0.2 / width, 1 - inches / height, text, va="center", **style)
    figure.savefig(target, dpi=160, facecolor="white", metadata={"Date": None} if target.suffix == ".svg" else None)
    plt.close(figure)


def heat(axes: Axes, km: pd.DataFrame, moved: pd.DataFrame, trust: pd.DataFrame) -> None:
    """Kilometres per vehicle and day."""
    rows, columns = km.shape
    top = float(np.nanpercentile(km.where(moved).to_numpy(), 97)) if moved.to_numpy().any() else 1.0
    axes.imshow(np.where(km.notna(), 0.0, np.nan), cmap=ListedColormap([FAINT]), aspect="auto")
    axes.imshow(
        np.ma.masked_invalid(km.where(moved).to_numpy(dtype=float)), cmap=BLUES, norm=Normalize(0, top), aspect="auto"
    )
    for row, column in np.argwhere(km.isna().to_numpy()):
        axes.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor="white", edgecolor=HATCH, hatch="////", linewidth=0)
        )
    axes.set_xticks(np.arange(-0.5, columns), minor=True)
    axes.set_yticks(np.arange(-0.5, rows), minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    doubted = np.argwhere((moved & (trust < 100)).to_numpy())
    axes.scatter(doubted[:, 1], doubted[:, 0], s=34, facecolors="none", edgecolors=DOUBT, linewidths=1.3, zorder=3)
    for number, day in enumerate(km.columns):
        if day.weekday() >= 5:
            axes.plot([number - 0.45, number + 0.45], [-0.75, -0.75], color=GREY, linewidth=1.5, clip_on=False)
    axes.set_ylim(rows - 0.5, -0.5)
    ticks = [number for number, day in enumerate(km.columns) if columns <= 14 or day.weekday() == 0]
    axes.set_xticks(
        ticks, [f"{km.columns[number]:%a}\n{km.columns[number].day} {km.columns[number]:%b}" for number in ticks]
    )
    plain(axes)


def legend(figure: Figure, axes: Axes) -> None:
    """The scale, and what the marks mean."""
    width, height = figure.get_size_inches()
    scale = figure.add_axes((1.75 / width, 0.22 / height, 1.7 / width, 0.1 / height))
    bar = figure.colorbar(axes.images[1], cax=scale, orientation="horizontal", extend="max")
    bar.outline.set_visible(False)
    scale.tick_params(labelsize=7.5, length=0, pad=1, colors=GREY)
    scale.set_title("km a day", fontsize=7.5, color=GREY, loc="left", pad=2)
    marks = [
        Patch(facecolor=FAINT, label="did not move"),
        Patch(facecolor="white", edgecolor=HATCH, hatch="////", linewidth=0, label="nothing known"),
        Line2D([], [], linestyle="", marker="o", mfc="none", mec=DOUBT, mew=1.3, ms=6, label="figure in doubt"),
        Line2D([], [], color=GREY, linewidth=1.5, label="weekend"),
    ]
    figure.legend(
        handles=marks,
        loc="center left",
        bbox_to_anchor=(3.7 / width, 0.27 / height),
        ncols=4,
        frameon=False,
        fontsize=8,
        labelcolor=GREY,
        handlelength=1.2,
        columnspacing=1.6,
    )


def bars(axes: Axes, used: pd.Series, known: pd.Series, days: int) -> None:
    """Days on which each vehicle moved, of those with data."""
    rows = range(len(used))
    axes.barh(rows, known, height=0.62, color=FAINT)
    axes.barh(rows, used, height=0.62, color="#0f4f86")
    for row, (moved, of) in enumerate(zip(used, known, strict=True)):
        axes.text(of + days * 0.03, row, f"{moved}/{of}", va="center", fontsize=8, color=GREY)
    axes.set_xlim(0, days * 1.3)
    axes.set_xticks([])
    axes.set_title("days used", fontsize=9, color=GREY, loc="left", pad=4)
    plain(axes)


def plain(axes: Axes) -> None:
    """No frame and no tick marks: the cells are the picture."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(which="both", length=0, colors=INK)


def headline(seldom: int, total: int) -> str:
    """What the picture says."""
    if not seldom:
        return f"All {total} vehicles moved on at least half of their days"
    return f"{seldom} of {total} vehicles moved on fewer than half of their days"


def spell(days: pd.DatetimeIndex) -> str:
    """First and last day."""
    first, last = days[0], days[-1]
    return f"{first.day} {first:%B %Y} to {last.day} {last:%B %Y}"


def shortened(name: str) -> str:
    """A name that fits beside its row."""
    return name if len(name) <= 22 else f"{name[:21]}…"


def main() -> None:
    """Read, draw, say where the picture is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("utilisation.png"), help="file to write: .png, .svg or .pdf")
    parser.add_argument("--days", type=int, default=28, help="how many days, up to the newest one loaded")
    options = parser.parse_args()
    draw(read(options.days), options.output)
    sys.stdout.write(f"{options.output}\n")


if __name__ == "__main__":
    main()
