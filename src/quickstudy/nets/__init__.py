"""Backbones. Any `torch.nn.Module` that takes (rows, ...) is a net; these are the usual ones."""

from quickstudy.nets.augmentations import Affine, Augmentations, Jitter, affine
from quickstudy.nets.conv4 import conv4
from quickstudy.nets.conv_cells import conv_cells
from quickstudy.nets.convs import ConvNet
from quickstudy.nets.distortion import Distortion
from quickstudy.nets.dnc import DNCCell
from quickstudy.nets.drawings import Drawings
from quickstudy.nets.example_weights import LossWeights, RowWeights
from quickstudy.nets.fcn import fcn
from quickstudy.nets.mann import MANNCell
from quickstudy.nets.mixed_cells import CellNet, dense_cells
from quickstudy.nets.mlp import mlp
from quickstudy.nets.modulated import modulated_mlp
from quickstudy.nets.monomials import Monomials
from quickstudy.nets.ntm import NTMCell
from quickstudy.nets.plastic import Hebbian, Neuromodulated, Oja
from quickstudy.nets.recurrent import GRUCell, LSTMCell
from quickstudy.nets.resnet12 import resnet12
from quickstudy.nets.simulator import Simulator
from quickstudy.nets.standardised import Standardised
from quickstudy.nets.transformer import TransformerBlock

__all__ = [
    "Affine",
    "Augmentations",
    "CellNet",
    "ConvNet",
    "DNCCell",
    "Distortion",
    "Drawings",
    "GRUCell",
    "Hebbian",
    "Jitter",
    "LSTMCell",
    "LossWeights",
    "MANNCell",
    "Monomials",
    "NTMCell",
    "Neuromodulated",
    "Oja",
    "RowWeights",
    "Simulator",
    "Standardised",
    "TransformerBlock",
    "affine",
    "conv4",
    "conv_cells",
    "dense_cells",
    "fcn",
    "mlp",
    "modulated_mlp",
    "resnet12",
]
