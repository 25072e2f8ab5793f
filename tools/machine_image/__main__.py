"""``python -m tools.machine_image``: build the image if it is not in the cache, and print its path."""

from tools.machine_image import machine_image

print(machine_image())
