"""What serves the stage beside the pipelines."""
