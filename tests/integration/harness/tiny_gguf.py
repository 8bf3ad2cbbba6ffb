# SPDX-License-Identifier: Apache-2.0
"""Writes language models of a few hundred kilobytes as GGUF, for llama.cpp's server.

Such a model has no use for attention: each token is followed by the one that the file says. It answers
with a known text, token by token, and continues one that it is given. What is not in a text is
followed by noise: any token, single bytes of UTF-8 as well.
"""

import array
import random
import re
import struct

EMBEDDING = 64  # the vectors of the tokens are random, so they are as good as orthogonal
HEADS = 4
UNKNOWN, BEGIN, END = 0, 1, 2
TYPE_NORMAL, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_BYTE = 1, 2, 3, 6  # of a token
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9               # of a value
ALIGNMENT = 32

# A model that is trained for tools, as its server recognizes it. What it says after a result is another text.
CALL = """<tool_call>\n{"name": {{ f['name'] | tojson }}, "arguments": {{ f['arguments'] | tojson }}}\n</tool_call>"""
TEMPLATE = (
    "{% if tools %}<|system|>{{ tools | tojson }}</s>{% endif %}"
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] or '' }}"
    "{% for c in m['tool_calls'] or [] %}{% set f = c['function'] %}" + CALL + "{% endfor %}</s>{% endfor %}"
    "{% if add_generation_prompt %}{% if messages[-1]['role'] == 'tool' %}<|result|>{% else %}<|answer|>{% endif %}{% endif %}"
)


def words(count):
    """Pieces of a text that can be continued: w0 w1 w2 ..."""
    return ["w0", *(f" w{n}" for n in range(1, count))]


def begun(text):
    """What of those words a text begins with, as text."""
    count = len(re.match(r"(w\d+ ?)*", text)[0].split())
    return "".join(words(count)) if count else ""


def call(name, argument, *words):
    """Pieces of a call of a tool."""
    return ["<tool_call>", '\n{"name": "', name, '", "arguments": {"', argument, '": "', *words, '"}}', "\n</tool_call>"]


def _string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _pack(kind, value):
    return _string(value) if kind == STRING else struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def _metadata(key, kind, value):
    if isinstance(value, bytes):
        body = value
    elif isinstance(value, list):
        body = struct.pack("<IIQ", ARRAY, kind, len(value)) + b"".join(_pack(kind, v) for v in value)
    else:
        body = struct.pack("<I", kind) + _pack(kind, value)
    return _string(key) + body


def _tokens(texts):
    tokens = [("<unk>", TYPE_UNKNOWN), ("<s>", TYPE_CONTROL), ("</s>", TYPE_CONTROL)]
    tokens += [(f"<0x{byte:02X}>", TYPE_BYTE) for byte in range(256)]
    tokens += [(start, TYPE_CONTROL) for start in texts]
    tokens += [(piece.replace(" ", "\u2581"), TYPE_NORMAL) for pieces in texts.values() for piece in pieces]
    tokens += [("\u2581w", TYPE_NORMAL)]  # the tokenizer puts words together piece by piece
    assert len({text for text, _ in tokens}) == len(tokens), "each piece of a text is a token of its own"
    return tokens


def weights(answer=(), result=()):
    """(tokens, matrices by the names that llama.cpp gives them)"""
    texts = {name: list(pieces) for name, pieces in (("<|answer|>", answer), ("<|result|>", result))}
    tokens = _tokens(texts)
    ids = {text: n for n, (text, _) in enumerate(tokens)}
    source = random.Random(7)
    embedding = [[source.choice((-1.0, 1.0)) for _ in range(EMBEDDING)] for _ in tokens]
    output = [[source.gauss(0, 0.02) for _ in range(EMBEDDING)] for _ in tokens]
    for start, pieces in texts.items():
        chain = [ids[start], *(ids[p.replace(" ", "\u2581")] for p in pieces), END]
        for before, after in zip(chain, chain[1:]) if pieces else ():
            output[after] = [a + b for a, b in zip(output[after], embedding[before])]
    ones = [[1.0] * EMBEDDING]
    square = [[0.0] * EMBEDDING] * EMBEDDING
    matrices = {"token_embd.weight": embedding, "output.weight": output, "output_norm.weight": ones,
                "blk.0.attn_norm.weight": ones, "blk.0.ffn_norm.weight": ones}
    matrices.update((f"blk.0.{name}.weight", square)
                    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"))
    return tokens, matrices


def floats(rows):
    return array.array("f", (x for row in rows for x in row)).tobytes()


def write(path, answer=(), result=(), padding=0):
    """answer: the pieces of the text that it says to a user, result: after a tool; noise where empty.
    padding: strings that it takes time to load."""
    tokens, tensors = weights(answer, result)
    metadata = [
        ("general.architecture", STRING, "llama"), ("general.name", STRING, "tiny"),
        ("llama.context_length", U32, 32768), ("llama.embedding_length", U32, EMBEDDING),
        ("llama.block_count", U32, 1), ("llama.feed_forward_length", U32, EMBEDDING),
        ("llama.attention.head_count", U32, HEADS), ("llama.rope.dimension_count", U32, EMBEDDING // HEADS),
        ("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        ("tokenizer.ggml.model", STRING, "llama"),
        ("tokenizer.ggml.tokens", STRING, [text for text, _ in tokens]),
        ("tokenizer.ggml.scores", F32, [0.0 for _ in tokens]),
        ("tokenizer.ggml.token_type", I32, [kind for _, kind in tokens]),
        ("tokenizer.ggml.bos_token_id", U32, BEGIN), ("tokenizer.ggml.eos_token_id", U32, END),
        ("tokenizer.ggml.unknown_token_id", U32, UNKNOWN), ("tokenizer.ggml.add_bos_token", BOOL, True),
        ("tokenizer.ggml.add_space_prefix", BOOL, False),
        ("tokenizer.chat_template", STRING, TEMPLATE),
        ("padding", ARRAY, struct.pack("<IIQ", ARRAY, STRING, padding) + bytes(8 * padding)),  # empty strings
    ]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)) + b"".join(_metadata(*m) for m in metadata)
    data = b""
    for name, rows in tensors.items():
        shape = [len(rows[0])] + ([len(rows)] if len(rows) > 1 else [])
        head += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(data))  # 0: 32-bit floats
        data += floats(rows)
        data += bytes(-len(data) % ALIGNMENT)
    path.write_bytes(head + bytes(-len(head) % ALIGNMENT) + data)
    return path
