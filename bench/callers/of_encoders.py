"""A sentence encoder from texts to vectors; `order.model` is the folder of sentence-transformers."""

from __future__ import annotations

import importlib
import shutil
from typing import Any

import numpy as np

from callers.call import Call, Order

FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def headway(order: Order) -> Call:
    """Engine `encoder` of headway; the options are its settings."""
    plugins = importlib.import_module("headway.core.plugins")
    content, _ = importlib.import_module("headway.optimization.importers.huggingface").read_encoder(order.model)
    return Call(plugins.load_engine("encoder")(content, dict(order.options)).encode, ready=list)


def sentence_transformers(order: Order) -> Call:
    """SentenceTransformer.encode, by PyTorch."""
    model = importlib.import_module("sentence_transformers").SentenceTransformer(str(order.model), device="cpu")
    return Call(lambda texts: model.encode(texts, batch_size=256), ready=list)


def fastembed(order: Order) -> Call:
    """TextEmbedding of fastembed on a local folder with the graph that PyTorch exports."""
    graph = order.file("model.onnx")
    if not graph.exists():
        _export(order, graph)
    model = importlib.import_module("fastembed").TextEmbedding(
        "sentence-transformers/all-MiniLM-L6-v2", specific_model_path=str(graph.parent), threads=1
    )
    return Call(lambda texts: np.stack(list(model.embed(texts, batch_size=256))), ready=list)


def _export(order: Order, graph: Any) -> None:
    """Export the layers before the pooling, with padding, as fastembed reads them."""
    torch = importlib.import_module("torch")
    automatic = importlib.import_module("transformers").AutoModel
    model = automatic.from_pretrained(str(order.model), attn_implementation="eager").eval()

    class Hidden(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)[0]

    example = torch.ones(2, 7, dtype=torch.long)
    names = [*INPUTS, "last_hidden_state"]
    torch.onnx.export(
        Hidden(),
        (example, example, example * 0),
        str(graph),
        input_names=names[:3],
        output_names=names[3:],
        dynamic_axes={name: {0: "n", 1: "t"} for name in names},
        dynamo=False,
        opset_version=17,
    )
    for name in FILES:
        shutil.copy(order.model / name, graph.parent / name)
