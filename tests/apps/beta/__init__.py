"""The other half of a cycle: its model and alpha's refer to each other."""
