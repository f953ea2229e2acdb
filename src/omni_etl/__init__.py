"""omni."""
