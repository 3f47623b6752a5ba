"""MNIST, 60,000 handwritten digits of 28 x 28 pixels: an MLP, a few minutes."""

from caviar.studies.catalog import image_study
from caviar.studies.space.scales import PowersOfTwo

STUDY = image_study("mnist", "mlp", epochs=20, batch_size=PowersOfTwo(32, 512, default=64))
