"""Find what makes builds slow: checks that judge facts, each with its evidence and a cure."""
