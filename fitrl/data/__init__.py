"""From a lab's file to validated trials; every problem of the file is reported at once."""

from fitrl.data.describe import describe
from fitrl.data.trials import Trials, read_trials

__all__ = ["Trials", "describe", "read_trials"]
