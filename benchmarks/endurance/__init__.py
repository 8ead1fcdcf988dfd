"""What the stage keeps of what it accepted, over time and through deaths: `python -m benchmarks.endurance COMMAND`."""
