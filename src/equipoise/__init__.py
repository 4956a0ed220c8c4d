"""Train generative adversarial networks and keep generator and discriminator in balance."""

__version__ = "0.1.0"
