"""The operations behind commands: a stack's workspace, session, state, recovery, and reports.

Nothing here prints, or knows a terminal: a command tells and asks its user through :class:`fleet.ops.ui.Ui`. Nothing is
imported here either: commands wait for what they import.
"""
