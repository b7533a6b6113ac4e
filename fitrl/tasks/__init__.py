"""Tasks: columns, coding, environments and signatures."""

from fitrl.tasks.bandit import Bandit
from fitrl.tasks.task import Column, Task
from fitrl.tasks.twostep import TwoStep, TwoStepKool
from fitrl.tasks.world import World

__all__ = ["Bandit", "Column", "Task", "TwoStep", "TwoStepKool", "World"]
