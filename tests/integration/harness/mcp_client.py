# SPDX-License-Identifier: Apache-2.0
"""Does with the Python SDK's client of MCP what each line of its input, JSON, says, and prints what it saw. Runs in the
environment of that client; see mcp_clients.py."""

import asyncio
import json
import sys

import httpx2
import mcp
from mcp.client.streamable_http import streamable_http_client


async def seen(awaitable):
    """What a program sees of an answer, or of its failure."""
    try:
        return await awaitable
    except mcp.MCPError as e:
        return {"error": type(e).__name__, "code": e.code, "message": str(e)}
    except Exception as e:  # what the client does not expect itself
        return {"error": type(e).__name__, "message": repr(e)}


async def tools(client):
    return {"tools": [t.name for t in (await client.list_tools()).tools]}


async def call(client, name, arguments, timeout=None):
    told = []

    async def progress(number, total, message):
        told.append(message)

    result = await client.call_tool(name, arguments, read_timeout_seconds=timeout, progress_callback=progress)
    return {"text": "".join(c.text for c in result.content), "failed": result.is_error, "structured": result.structured_content,
            "progress": told}


async def about(client):
    return {"version": client.protocol_version, "name": client.server_info.name, "instructions": client.instructions}


WAYS = {"tools": tools, "call": call, "about": about}


async def do(order):
    async with httpx2.AsyncClient(headers=order.get("headers", {}), timeout=60, trust_env=False) as http:
        try:
            async with mcp.Client(streamable_http_client(order["url"], http_client=http), mode=order["mode"]) as client:
                return [await seen(WAYS[way](client, *more)) for way, *more in order["do"]]
        except BaseExceptionGroup as e:
            return [{"error": type(e.exceptions[0]).__name__, "message": repr(e.exceptions[0])}]
        except Exception as e:
            return [{"error": type(e).__name__, "message": repr(e)}]


for line in sys.stdin:
    print(json.dumps(asyncio.run(do(json.loads(line)))), flush=True)
