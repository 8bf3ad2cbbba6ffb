# SPDX-License-Identifier: Apache-2.0
"""What fastmcp's client sees of an MCP server: fastmcp_client.py URL MODE KEY CALLS. CALLS: [[tool, arguments], ...] as JSON; KEY may
be empty. Writes {"tools": names, "results": [...]} or {"error": name of the exception, "message": its text}."""

import asyncio
import json
import sys

from fastmcp import Client
from fastmcp.exceptions import ToolError


async def called(client, tool, arguments):
    told = []

    async def on_progress(progress, total, message):
        told.append(message)

    try:
        result = await client.call_tool(tool, arguments, progress_handler=on_progress)
    except ToolError as e:
        return {"failed": str(e), "progress": told}
    return {"text": "".join(c.text for c in result.content), "structured": result.structured_content, "progress": told}


async def seen(url, mode, key, calls):
    try:
        async with Client(url, auth=key or None, timeout=30, mode=mode) as client:
            tools = sorted(t.name for t in await client.list_tools())
            return {"tools": tools, "results": [await called(client, *c) for c in calls]}
    except Exception as e:
        return {"error": type(e).__name__, "message": str(e)}


url, mode, key, calls = sys.argv[1:]
print(json.dumps(asyncio.run(seen(url, mode, key, json.loads(calls)))))
