"""Client of spectrald, a server that analyses neural-network checkpoints.

    from spectrald import Client
    analysis = Client().analyze("llama-7b")

spectrald.hooks collects calibration statistics in PyTorch; only that module needs torch.
"""

from .client import Client, source_of
from .errors import (ApiError, Busy, Conflict, Forbidden, InvalidRequest, JobFailed, NotFound,
                     ServerError, SpectraldError, TransportError, WaitTimeout)

__version__ = "0.1.0"
__all__ = ["ApiError", "Busy", "Client", "Conflict", "Forbidden", "InvalidRequest", "JobFailed",
           "NotFound", "ServerError", "SpectraldError", "TransportError", "WaitTimeout",
           "__version__", "source_of"]
