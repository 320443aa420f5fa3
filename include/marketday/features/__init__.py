"""Features: from facts as known on the morning of the day to the rows that models learn from and predict for."""
