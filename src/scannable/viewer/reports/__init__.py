"""The pages of records: demo, reproductions, and the figure of the family."""
