"""What runs within vLLM's own process, in an environment that has no hyperalign.

Its files import nothing but the standard library, and this folder is all that vLLM's Python is shown of the project.
"""
