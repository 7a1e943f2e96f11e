"""What pages are made of: components, charts, and the shell of those with a script."""
