"""Fleet's own resources, which are dynamic ones: a provider in Python makes them.

The engine runs the providers of dynamic resources in a process of their own, which every preview and update waits
for, and which needs nothing of the plan: so nothing is imported here, and the modules (gate, ready, drain, record,
history) import what describes nodes for type checkers alone, and what asks them when one is asked.
"""
