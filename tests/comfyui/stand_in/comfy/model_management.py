"""Everything on the CPU; `cancel_after` pictures the user presses Cancel."""

import torch


class InterruptProcessingException(Exception):  # noqa: N818
    pass


cancel_after = None


def throw_exception_if_processing_interrupted():
    global cancel_after
    if cancel_after is not None:
        cancel_after -= 1
        if cancel_after < 0:
            raise InterruptProcessingException


def get_torch_device():
    return torch.device("cpu")


unet_offload_device = get_torch_device


def should_use_bf16(device):
    return False


def load_models_gpu(models, memory_required=0, force_full_load=False):
    pass
