"""Who made a call: its stack, captured on the caller's path and rendered when somebody looks."""
