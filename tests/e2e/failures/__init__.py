"""The failure matrix: whatever is killed, hangs, is cleared or goes away, a step's effect comes about exactly once."""
