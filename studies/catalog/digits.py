"""Handwritten digits, 1,797 images of 8 x 8 pixels: a study of half a minute."""

from caviar.studies.catalog import image_study
from caviar.studies.space.scales import PowersOfTwo

STUDY = image_study("digits", "mlp", epochs=30, batch_size=PowersOfTwo(16, 256, default=64))
