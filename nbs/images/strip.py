"""The picture of the README and of the course map: five things that the chapters build, made by the library.

python nbs/images/strip.py            # writes strip.png beside this file
python nbs/images/strip.py OUT.png --steps 2    # a quick look: networks that have hardly learned
"""

import argparse
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch.nn.functional import pad

from silen_lib.core import set_seed
from silen_lib.data import binarise, load_digits, wave_pictures
from silen_lib.energy import gaussian_wells, gradient_descent
from silen_lib.free_energy import VAE, DecisionModel, fit_vae, run_agent
from silen_lib.hopfield import corrupt_pattern, recall_patterns
from silen_lib.plot import COLORS, plot_energy_2d, use_style
from silen_lib.score import ScoreNet, sigma_ladder, train_score
from silen_lib.spins import random_patterns


def seeded(seed: int = 1) -> torch.Generator:
    "A generator of its own for each picture: no picture changes with another."
    return torch.Generator().manual_seed(seed)


def mosaic(pictures: torch.Tensor, columns: int, gap: int = 1, colour: float = 0.0) -> torch.Tensor:
    "Pictures side by side, a gap right of and below each: (n, h, w) → (rows · (h + gap), columns · (w + gap))."
    framed = pad(pictures, (0, gap, 0, gap), value=colour)
    rows = framed.unflatten(0, (-1, columns)).transpose(1, 2)
    return rows.flatten(2).flatten(0, 1)


def draw_landscape(ax: Axes) -> None:
    "Balls that roll to the bottoms of an energy (chapter 0)."
    centres = [[-2.2, -1.2], [1.8, -1.6], [0.4, 2.0]]

    def wells(x: torch.Tensor) -> torch.Tensor:
        return gaussian_wells(
            x, centres, depths=(3.0, 2.0, 4.0), widths=(1.3, 1.1, 1.4), confinement=0.08
        )

    starts = torch.tensor(
        [[-3.4, 2.2], [-1.2, 0.9], [-0.6, -3.0], [3.3, 0.7], [2.6, 3.2], [3.4, -3.2]]
    )
    path = gradient_descent(wells, starts, lr=0.05, n_steps=300)
    plot_energy_2d(wells, (-4, 4), (-4, 4), path=path.transpose(0, 1), colorbar=False, ax=ax)
    ax.set(xlabel="", ylabel="")


def draw_recall(ax: Axes, generator: torch.Generator) -> None:
    "Above what 10,000 neurons are given, below what they make of it (chapter 1)."
    gallery = wave_pictures(12, generator=generator)
    half = gallery[1].clone()
    half[50:] = random_patterns(50, 100, generator=generator)
    cues = torch.stack([corrupt_pattern(gallery[0], 0.4, generator=generator), half])
    ends = recall_patterns(cues.flatten(1), gallery).view(-1, 100, 100)
    both = mosaic(torch.cat([cues, ends]), 2, gap=6, colour=torch.nan)[:-6, :-6]
    ax.imshow(both, cmap="silen_spin", vmin=-1, vmax=1, interpolation="none")


def draw_digits(ax: Axes, steps: int, generator: torch.Generator) -> None:
    "Digits that a network draws from noise (chapter 9)."
    pixels = 2 * load_digits().train.flatten(1) - 1
    net = ScoreNet(pixels, width=256, depth=3, generator=generator)
    train_score(
        net,
        pixels,
        low=0.1,
        high=3,
        steps=steps,
        batch=128,
        lr=2e-3,
        average=0.995,
        generator=generator,
    )
    drawn = net.sample(64, sigma_ladder(3, 0.1, 60), generator=generator)
    ax.imshow(
        mosaic(((drawn + 1) / 2).clamp(0, 1).view(-1, 8, 8), 8), cmap="gray", interpolation="none"
    )


def draw_sheet(ax: Axes, steps: int, generator: torch.Generator) -> None:
    "What a variational autoencoder decodes from a sheet of codes (chapter 10)."
    pictures = binarise(load_digits().train.flatten(1))
    vae = VAE(64, generator=generator)
    fit_vae(vae, pictures, epochs=max(1, steps // 50), generator=generator)
    line = torch.linspace(-2, 2, 10)
    codes = torch.stack(torch.meshgrid(line.flip(0), line, indexing="ij")[::-1], -1)
    with torch.no_grad():
        sheet = vae.decoder(codes).sigmoid().view(-1, 8, 8)
    ax.imshow(mosaic(sheet, 10), cmap="gray", interpolation="none")


def draw_maze(ax: Axes, generator: torch.Generator) -> None:
    "An agent that walks out of its way for a clue, and how far it believes that the cheese is left (chapter 10)."
    places = {0: (0, 0), 1: (0, -1.5), 2: (-1.5, 1.5), 3: (1.5, 1.5)}
    history = run_agent(DecisionModel.t_maze(reliability=0.95, stake=2.0), 0, generator=generator)
    floor = dict(
        color=COLORS["paper"], lw=34, solid_capstyle="round", solid_joinstyle="round", zorder=1
    )
    ax.plot([0, 0], [-1.5, 1.5], **floor)
    ax.plot([-1.5, 1.5], [1.5, 1.5], **floor)
    sign = dict(
        ha="center",
        va="center",
        zorder=4,
        bbox=dict(boxstyle="round", fc="white", ec="none", pad=0.25),
    )
    at = places[0]
    belief = 0.5
    for action, _, after in history:
        to = places[action]
        bend = "angle,angleA=90,angleB=0,rad=12" if action > 1 else "arc3"
        line = dict(
            arrowstyle="-|>",
            lw=3,
            color=COLORS["model"],
            shrinkA=0,
            shrinkB=14,
            connectionstyle=bend,
        )
        ax.annotate("", to, at, arrowprops=line, zorder=3)
        ax.text(*at, f"{belief:.2f}", **sign)
        at = to
        belief = after[0::2].sum().item()
    ax.text(*at, f"{belief:.2f}", **sign)
    found = ("nothing", "sign", "sign", "cheese", "a shock")[history[-1][1]]
    ax.text(0.6, 0, "start", va="center")
    ax.text(0.6, -1.5, "sign", va="center")
    ax.text(at[0], 0.7, found, ha="center", va="center")
    ax.set(xlim=(-2.2, 2.2), ylim=(-2.2, 2.2))


def draw_strip(steps: int) -> Figure:
    "Five pictures and their names."
    use_style()
    set_seed()
    fig = Figure(figsize=(10, 2.22), dpi=160, layout="constrained", facecolor="white")
    fig.get_layout_engine().set(w_pad=0.06, h_pad=0.05, wspace=0.01)
    panels = fig.subplots(1, 5)
    titles = (
        "0 · a landscape",
        "1 · a memory recalls",
        "9 · digits from noise",
        "10 · a sheet of codes",
        "10 · a walk for a clue",
    )
    draw_landscape(panels[0])
    draw_recall(panels[1], seeded())
    draw_digits(panels[2], steps, seeded())
    draw_sheet(panels[3], steps, seeded())
    draw_maze(panels[4], seeded(0))  # 86 nights of 100 end with the cheese, as this one does
    for ax, title in zip(panels, titles):
        ax.set(xticks=[], yticks=[], aspect="equal")
        ax.grid(False)
        ax.spines[:].set_visible(False)
        ax.set_title(title, fontsize=11)
    return fig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path, default=Path(__file__).with_name("strip.png"))
    parser.add_argument("--steps", type=int, default=2000, help="of training")
    chosen = parser.parse_args()
    draw_strip(chosen.steps).savefig(chosen.out)


if __name__ == "__main__":
    main()
