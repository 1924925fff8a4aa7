"""Write ordinary models of torch, Keras, safetensors, GGUF and joblib to a folder: `benign_models.py FOLDER`."""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import gguf
import joblib
import keras
import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.ensemble import GradientBoostingClassifier


def main(folder: str) -> None:
    """Write the models."""
    target = Path(folder)
    torch.manual_seed(0)
    nets = {
        "dense": torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)),
        "convolution": torch.nn.Sequential(torch.nn.Conv1d(2, 4, 3), torch.nn.BatchNorm1d(4), torch.nn.Flatten()),
        "recurrent": torch.nn.LSTM(3, 4, batch_first=True),
        "attention": torch.nn.TransformerEncoderLayer(8, 2, 16),
    }
    for name, net in nets.items():
        torch.save(net.state_dict(), target / f"torch-{name}.pt")
        torch.save(net.state_dict(), target / f"torch-{name}-legacy.pt", _use_new_zipfile_serialization=False)
        torch.save(net, target / f"torch-{name}-module.pt")
        save_file({key: value.contiguous() for key, value in net.state_dict().items()}, target / f"{name}.safetensors")
        optimizer = torch.optim.Adam(net.parameters())
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, target / f"{name}.ckpt")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1)])
    model.save(target / "keras-dense.keras")
    model.save_weights(target / "keras-dense.weights.h5")
    (target / "keras-dense.json").write_text(model.to_json(), encoding="utf-8")
    writer = gguf.GGUFWriter(target / "small.gguf", "llama")
    writer.add_chat_template(
        "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    )
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    fitted = GradientBoostingClassifier(n_estimators=3).fit(np.eye(8), [0, 1] * 4)
    for name, compress in (
        ("none", 0),
        ("zlib", ("zlib", 3)),
        ("gzip", ("gzip", 3)),
        ("bz2", ("bz2", 3)),
        ("xz", ("xz", 3)),
        ("lzma", ("lzma", 3)),
        ("lz4", ("lz4", 3)),
    ):
        joblib.dump(fitted, target / f"boosting-{name}.joblib", compress=compress)
    for protocol in range(6):
        (target / f"boosting-{protocol}.pkl").write_bytes(pickle.dumps(fitted, protocol))
    template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    (target / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}), encoding="utf-8")


main(sys.argv[1])
