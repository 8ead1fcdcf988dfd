"""Side room: the demo's own work: traffic through a real stage, and what came of it against what really happened."""
