#!/usr/bin/env python3
"""Makes the JPEG files beside it with Pillow, and prints what Pillow reads back from them: the numbers in ../images.rs."""
from PIL import Image

size = 8
colour = Image.new("RGB", (size, size))
grey = Image.new("L", (size, size))
for y in range(size):
    for x in range(size):
        colour.putpixel((x, y), (30 * x, 20 * y + 60, 200 - 10 * x))
        grey.putpixel((x, y), 15 * (x + y))
colour.save("colour.jpg", quality=90, subsampling=0)
colour.save("halved.jpg", quality=90, subsampling=2)
grey.save("grey.jpg", quality=90)
for name in ["colour", "halved", "grey"]:
    picture = Image.open(f"{name}.jpg")
    print(name, [picture.getpixel(at) for at in [(0, 0), (7, 0), (0, 7), (4, 5)]])
