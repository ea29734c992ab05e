"""What the live explorers and the method pages draw: functions only, no state; a file per group of pages.

Every function returns a matplotlib figure, or draws into the axes that it is given; `frames` turns those into explorers
that need no kernel.
"""

from hebm_lib.reproduction.figures.bound import draw_bound, draw_posterior, draw_posteriors, plot_exact_training
from hebm_lib.reproduction.figures.ladder import draw_ladder, draw_signed, draw_units
from hebm_lib.reproduction.figures.moving import frames
from hebm_lib.reproduction.figures.runs import (
    CLASS_COLORS,
    class_legend,
    curve_rows,
    draw_atlas,
    draw_level_paths,
    draw_plane,
    draw_progress,
    draw_transition,
    draw_walks,
    explore_latent,
    explore_level,
    plane_box,
    plot_diagnostics,
    read_plane,
)

__all__ = [
    "CLASS_COLORS",
    "class_legend",
    "curve_rows",
    "draw_atlas",
    "draw_bound",
    "draw_ladder",
    "draw_level_paths",
    "draw_plane",
    "draw_posterior",
    "draw_posteriors",
    "draw_progress",
    "draw_signed",
    "draw_transition",
    "draw_units",
    "draw_walks",
    "explore_latent",
    "explore_level",
    "frames",
    "plane_box",
    "plot_diagnostics",
    "plot_exact_training",
    "read_plane",
]
