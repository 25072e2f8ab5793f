"""What commands do: a stack's workspace, its session with the engine, its state, recovery, and what is told of it.

Nothing is imported here: commands wait for what they import.
"""
