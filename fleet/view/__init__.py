"""``fleet view``: a stack as a web page, served on this machine's loopback address, or written into one file.

Data goes one way. :mod:`fleet.view.source` looks at a stack, and only looks: its state, its nodes, their consoles.
:mod:`fleet.view.snapshot`, which is pure, makes of that a *snapshot*: values for JSON, without a secret. The page
(:mod:`fleet.view.page`, and the files in ``static``) shows a snapshot, whether :mod:`fleet.view.server` sends it one
after the other or the page holds one, as an exported file does.

Starlette, uvicorn and Jinja2 come with the extra ``view``; none is imported before :mod:`fleet.view.server` or
:mod:`fleet.view.page` is.
"""
