"""Fuzzing of everything that reads bytes from outside; docs/fuzzing.md says how it is run and what counts as a finding."""
