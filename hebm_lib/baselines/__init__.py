"""One file per baseline, each trained by `hebm_lib.training.Trainer` and measured by `hebm_lib.metrics`."""
