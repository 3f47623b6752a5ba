"""CIFAR-10, 60,000 colour photographs of 32 x 32 pixels: a small CNN, better on a GPU."""

from caviar.studies.catalog import image_study
from caviar.studies.space.scales import PowersOfTwo

STUDY = image_study("cifar10", "cnn", epochs=20, batch_size=PowersOfTwo(32, 512, default=64), layers=3)
