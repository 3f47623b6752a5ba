"""Fashion-MNIST, 60,000 pieces of clothing of 28 x 28 pixels: an MLP."""

from caviar.studies.catalog import image_study
from caviar.studies.space.scales import PowersOfTwo

STUDY = image_study("fashion_mnist", "mlp", epochs=15, batch_size=PowersOfTwo(32, 512, default=64))
