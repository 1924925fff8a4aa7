"""Make small snapshots with the library transformers, and let it answer texts from them; weights are random.

usage: transformers_snapshots.py FOLDER
Writes FOLDER/NAME with config, weights, tokenizer, and answers.json: the texts, and what the library answers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

LENGTH = 16
SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
PIECES = ["where", "is", "my", "par", "##cel", "refund", "##ed", "late", "cafe", ",", "?", "!", "a", "##b", "##c", "12"]
TEXTS = [
    "Where is my parcel?",
    "refunded, refund!  LATE",
    "",
    "café 12 \t abc",
    "unknown wörds ☃ 東京",
    "where is my parcel " * 9,
]
SIZES = {"vocab_size": len(SPECIAL) + len(PIECES), "max_position_embeddings": LENGTH}
BERT = {**SIZES, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
DISTILBERT = {**SIZES, "dim": 24, "n_layers": 2, "n_heads": 4, "hidden_dim": 40}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", {**BERT, "num_labels": 3}),
    "bert-relu": ("Bert", {**BERT, "num_labels": 2, "hidden_act": "relu", "layer_norm_eps": 1e-5}),
    "bert-labels": ("Bert", {**BERT, "num_labels": 4, "problem_type": "multi_label_classification"}),
    "bert-score": ("Bert", {**BERT, "num_labels": 1}),
    "distilbert": ("DistilBert", {**DISTILBERT, "num_labels": 3}),
    "distilbert-sinus": ("DistilBert", {**DISTILBERT, "num_labels": 3, "sinusoidal_pos_embds": True}),
}


def save(folder: Path, family: str, settings: dict[str, Any]) -> None:
    """Write a snapshot whose weights are large enough that answers differ."""
    config = getattr(transformers, f"{family}Config")(**settings)
    model = getattr(transformers, f"{family}ForSequenceClassification")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.4)
    model.save_pretrained(folder)
    vocabulary = {piece: index for index, piece in enumerate([*SPECIAL.values(), *PIECES])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIAL["unk"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(SPECIAL[name], vocabulary[SPECIAL[name]]) for name in ("cls", "sep")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {f"{name}_token": token for name, token in SPECIAL.items()}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=LENGTH, **names).save_pretrained(folder)


def answers(folder: Path) -> list[list[float]]:
    """Answer the texts as a caller of the library does: all of them in one padded batch."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    inputs = dict(tokenizer(TEXTS, truncation=True, padding=True, return_tensors="pt"))
    if model.config.model_type == "distilbert":
        inputs.pop("token_type_ids", None)
    with torch.no_grad():
        logits = model(**inputs).logits.double()
    if model.config.problem_type == "multi_label_classification":
        return logits.sigmoid().tolist()
    return (logits if logits.shape[1] == 1 else logits.softmax(1)).tolist()


if __name__ == "__main__":
    torch.manual_seed(0)
    for name, (family, settings) in CASES.items():
        path = Path(sys.argv[1]) / name
        save(path, family, settings)
        (path / "answers.json").write_text(json.dumps({"texts": TEXTS, "answers": answers(path)}))
