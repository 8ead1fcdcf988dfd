"""What the project itself is worked on with; no part of the package."""
