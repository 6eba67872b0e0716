"""The report in the formats that other programs read."""
