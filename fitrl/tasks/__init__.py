"""Tasks: columns, coding, environments and signatures."""

from fitrl.tasks.bandit import Bandit
from fitrl.tasks.replay import NotReplayable, Recorded
from fitrl.tasks.stimulus_action import StimulusAction
from fitrl.tasks.task import Column, Task
from fitrl.tasks.twostep import TwoStep, TwoStepKool
from fitrl.tasks.world import World

__all__ = ["Bandit", "Column", "NotReplayable", "Recorded", "StimulusAction", "Task", "TwoStep", "TwoStepKool", "World"]
