"""Whether it helps, whom, and by how much: metrics now; tasks, controls and statistics beside them.

Arrows point one way: evals may use programs, and no program knows an eval.
"""
