"""The proving ground for balance: small runs unbalanced in many ways, and what brings them back."""

from equipoise.studies.balance.adapter import train as train
