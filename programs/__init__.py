"""What is done for a person, one verb a file: infer, score, select, generate, and the loop of them all.

Programs get their model, scorer and contrast handed in; they know no runtime, no store and
no benchmark.
"""
