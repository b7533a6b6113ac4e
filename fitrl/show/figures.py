"""All figures of fitrl under one name; each returns ``(figure, axes)``."""

from fitrl.show.behaviour import plot_accuracy, plot_learning, plot_reversal, plot_set_size, plot_stay
from fitrl.show.posterior import plot_group, plot_subjects
from fitrl.show.trace import plot_trace

__all__ = [
    "plot_accuracy",
    "plot_group",
    "plot_learning",
    "plot_reversal",
    "plot_set_size",
    "plot_stay",
    "plot_subjects",
    "plot_trace",
]
