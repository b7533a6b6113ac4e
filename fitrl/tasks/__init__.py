"""Tasks: columns, coding, environments and signatures."""

from fitrl.tasks.bandit import Bandit
from fitrl.tasks.task import Column, Task

__all__ = ["Bandit", "Column", "Task"]
