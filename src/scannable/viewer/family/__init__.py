"""The affine rows as drawings, on a small memory task."""
