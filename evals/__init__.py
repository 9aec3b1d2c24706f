"""Measure whether a profile helps, whom, and by how much: tasks, solvers, metrics, statistics and reports.

``__init__.pyi`` lists the public names. Each is imported when it is first used::

    from hyperalign.evals import evaluate, load_task

    result = evaluate(program, load_task("squality", data="squality/v1-3/txt"), users=12, seed=7)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
