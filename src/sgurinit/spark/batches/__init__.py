"""Functions on Arrow batches, run by the executors.

Executors need NumPy, SciPy and PyArrow, but not this library: these functions are sent to them by
value. For this reason the modules of this package import nothing else from the library.
"""
