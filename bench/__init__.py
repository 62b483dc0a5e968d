"""Side-by-side measurements against peers: ``make bench``, or ``python -m bench --help``.

Each module here that holds ``CASES`` is an area. How to add a case: `bench.harness`.
"""
