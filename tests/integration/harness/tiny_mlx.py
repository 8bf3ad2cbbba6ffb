# SPDX-License-Identifier: Apache-2.0
"""Writes the language models of tiny_gguf as MLX's server reads them: Hugging Face's files in a directory."""

import json
import struct

from . import tiny_gguf
from .tiny_gguf import BEGIN, EMBEDDING, END, HEADS, TYPE_BYTE, TYPE_CONTROL, TYPE_NORMAL, UNKNOWN

NAMES = {
    "token_embd": "model.embed_tokens", "output": "lm_head", "output_norm": "model.norm",
    "blk.0.attn_norm": "model.layers.0.input_layernorm", "blk.0.ffn_norm": "model.layers.0.post_attention_layernorm",
    **{f"blk.0.attn_{short}": f"model.layers.0.self_attn.{name}_proj"
       for short, name in (("q", "q"), ("k", "k"), ("v", "v"), ("output", "o"))},
    **{f"blk.0.ffn_{name}": f"model.layers.0.mlp.{name}_proj" for name in ("gate", "up", "down")},
}


def _safetensors(matrices):
    head, data = {}, b""
    for name, rows in matrices.items():
        begin = len(data)
        data += tiny_gguf.floats(rows)
        shape = [len(rows[0])] if len(rows) == 1 else [len(rows), len(rows[0])]
        head[f"{NAMES[name.removesuffix('.weight')]}.weight"] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + data


def _tokenizer(tokens):
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    special = [{"id": n, "content": text, "special": True, "normalized": False, "single_word": False, "lstrip": False, "rstrip": False}
               for n, (text, kind) in enumerate(tokens) if kind == TYPE_CONTROL or n == UNKNOWN]
    cost = {TYPE_NORMAL: -1.0, TYPE_BYTE: -10.0}  # as few tokens as possible
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": space,
        "pre_tokenizer": None, "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "Unigram", "unk_id": UNKNOWN, "byte_fallback": True,
                  "vocab": [[text, cost.get(kind, -100.0)] for text, kind in tokens]},
    }


def write(path, answer=(), result=(), template=tiny_gguf.TEMPLATE):
    """As tiny_gguf does. template: of its chats."""
    tokens, matrices = tiny_gguf.weights(answer, result)
    config = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": EMBEDDING, "num_hidden_layers": 1,
        "intermediate_size": EMBEDDING, "num_attention_heads": HEADS, "rms_norm_eps": 1e-5, "vocab_size": len(tokens),
        "max_position_embeddings": 32768, "tie_word_embeddings": False, "bos_token_id": BEGIN, "eos_token_id": END}
    about_tokens = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
                    "chat_template": template}
    path.mkdir()
    for name, content in (("config", config), ("tokenizer", _tokenizer(tokens)), ("tokenizer_config", about_tokens)):
        (path / f"{name}.json").write_text(json.dumps(content))
    (path / "model.safetensors").write_bytes(_safetensors(matrices))
    return path
