"""One file per baseline, each trained by `hebm_lib.training.Trainer` and measured by `hebm_lib.metrics`.

Importing this package makes their kinds known to `hebm_lib.model.build_model`.
"""

from hebm_lib.baselines.abp import ABP
from hebm_lib.baselines.bigan import BiGAN
from hebm_lib.baselines.biva import BIVA
from hebm_lib.baselines.hvae import HVAE
from hebm_lib.baselines.jebm import JEBM
from hebm_lib.baselines.lebm import LatentEBM
from hebm_lib.baselines.lvae import LVAE
from hebm_lib.baselines.meg import MEG
from hebm_lib.baselines.multincp import MultiNCP
from hebm_lib.baselines.ncpvae import NCPVAE
from hebm_lib.baselines.provlae import ProVLAE
from hebm_lib.baselines.rae import RAE
from hebm_lib.baselines.sri import SRI
from hebm_lib.baselines.two_stage import TwoStageVAE
from hebm_lib.baselines.vae import VAE
from hebm_lib.baselines.vlae import VLAE

__all__ = [
    "ABP",
    "BIVA",
    "HVAE",
    "JEBM",
    "LVAE",
    "MEG",
    "NCPVAE",
    "RAE",
    "SRI",
    "VAE",
    "VLAE",
    "BiGAN",
    "LatentEBM",
    "MultiNCP",
    "ProVLAE",
    "TwoStageVAE",
]
