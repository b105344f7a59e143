"""Programs that measure; never part of the tests. ``make bench`` runs `benchmarks.__main__`."""
