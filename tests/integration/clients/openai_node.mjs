// SPDX-License-Identifier: Apache-2.0
// Does with OpenAI's own Node client what each line of its input, JSON, says, and prints what it saw; see openai_python.py.
import readline from "node:readline";
import OpenAI from "openai";

async function created(client, request) {
	const choice = (await client.chat.completions.create(request)).choices[0];
	return { text: choice.message.content, finish: choice.finish_reason };
}

async function streamed(client, request) {
	let text = "", finish = null;
	for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
		for (const choice of chunk.choices) {
			text += choice.delta.content ?? "";
			finish = choice.finish_reason ?? finish;
		}
	}
	return { text, finish };
}

// The client's own way to add chunks up.
async function helped(client, request) {
	const choice = (await client.chat.completions.stream(request).finalChatCompletion()).choices[0];
	return { text: choice.message.content, finish: choice.finish_reason };
}

async function tools(client, request) {
	const ran = [];
	const implemented = request.tools.map((tool) => ({
		...tool,
		function: {
			...tool.function,
			parse: JSON.parse,
			function: (args) => (ran.push([tool.function.name, args]), "rain"),
		},
	}));
	const runner = client.chat.completions.runTools({ ...request, stream: true, tools: implemented });
	return { text: await runner.finalContent(), ran };
}

async function left(client, request) {
	const stream = await client.chat.completions.create({ ...request, stream: true });
	for await (const _ of stream) {
		stream.controller.abort();
		break;
	}
	return {};
}

// The client asks for base64, and makes numbers of it.
async function embedded(client, request) {
	return { vectors: (await client.embeddings.create(request)).data.map((e) => e.embedding) };
}

async function completed(client, request) {
	return { text: (await client.completions.create(request)).choices[0].text };
}

async function completedInPieces(client, request) {
	let text = "";
	for await (const chunk of await client.completions.create({ ...request, stream: true })) {
		text += chunk.choices[0].text;
	}
	return { text };
}

const ways = {
	create: created, stream: streamed, helper: helped, tools, leave: left, embed: embedded, complete: completed, completed: completedInPieces,
};

for await (const line of readline.createInterface({ input: process.stdin })) {
	const order = JSON.parse(line), found = [];
	const client = new OpenAI({ baseURL: order.url, apiKey: order.key ?? "none", maxRetries: order.retries ?? 0, timeout: 60000 });
	for (const [way, request] of order.do) {
		try {
			found.push(await ways[way](client, request));
		} catch (e) {
			found.push({ error: e.constructor.name, status: e.status ?? null, code: e.code ?? null, message: String(e.message) });
		}
	}
	console.log(JSON.stringify(found));
}
