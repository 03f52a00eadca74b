"""The paper's seven SuperGLUE tasks (Wang et al., 2019), a file each."""

from dhrd.data.superglue import boolq, cb, copa, multirc, rte, wic, wsc
from dhrd.data.superglue.task import Task

TASKS: dict[str, Task] = {module.TASK.name: module.TASK for module in (boolq, cb, copa, multirc, rte, wic, wsc)}

__all__ = ["TASKS", "Task"]
