"""Floor 4: YAML to a graph of components, their start, drain and reload, and the stage's own metrics and logs."""
