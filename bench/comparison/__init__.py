"""The parts of bench/compare: one file a section of its output. Python's standard library only."""
