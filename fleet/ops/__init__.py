"""What commands do: a stack's workspace, its session with the engine, its state, recovery, and what is reported of it.

Nothing here prints, or knows a terminal: a command tells and asks its user through :class:`fleet.ops.ui.Ui`. Nothing is
imported here either: commands wait for what they import.
"""
