// SPDX-License-Identifier: Apache-2.0
// Does with Vercel's AI SDK what each line of its input, JSON, says, and prints what it saw; see openai_python.py.
import readline from "node:readline";
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";

globalThis.AI_SDK_LOG_WARNINGS = false;

async function created(options) {
	const answer = await generateText(options);
	return { text: answer.text, finish: answer.finishReason };
}

async function streamed(options) {
	let text = "", finish = null;
	for await (const part of streamText({ ...options, onError: () => {} }).fullStream) {
		if (part.type === "error")
			throw part.error;
		if (part.type === "text-delta")
			text += part.text;
		if (part.type === "finish")
			finish = part.finishReason;
	}
	return { text, finish };
}

async function tools(options, request) {
	const ran = [], set = {};
	for (const { function: f } of request.tools)
		set[f.name] = tool({ description: f.name, inputSchema: jsonSchema(f.parameters), execute: (args) => (ran.push([f.name, args]), "rain") });
	const answer = await streamed({ ...options, tools: set, stopWhen: stepCountIs(5) });
	return { text: answer.text, ran };
}

async function left(options) {
	const controller = new AbortController();
	for await (const part of streamText({ ...options, abortSignal: controller.signal, onError: () => {} }).fullStream)
		if (part.type === "text-delta")
			break;
	controller.abort();
	return {};
}

const ways = { create: created, stream: streamed, tools, leave: left };

for await (const line of readline.createInterface({ input: process.stdin })) {
	const order = JSON.parse(line), found = [];
	const provider = createOpenAICompatible({ name: "tt-agent", baseURL: order.url, apiKey: order.key ?? "none" });
	for (const [way, request] of order.do) {
		try {
			found.push(await ways[way]({ model: provider(request.model), messages: request.messages, maxRetries: order.retries ?? 0 }, request));
		} catch (e) {
			found.push({ error: e?.name ?? String(e), status: e?.statusCode ?? null, message: String(e?.message ?? e) });
		}
	}
	console.log(JSON.stringify(found));
}
