"""Code that runs inside vLLM's process. It has a folder of its own because vLLM's environment has no hyperalign: this
folder alone is on its PYTHONPATH, and its modules import only the standard library.
"""
