// Every operation through the official client for Node: `node drive.mjs URL KEY FOLDER` tells what it got.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import OpenAI, { APIError, toFile } from "openai";
import { VERSION } from "openai/version";

const [url, apiKey, folder] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url, apiKey, maxRetries: 0 });
const stranger = new OpenAI({ baseURL: url, apiKey: "sk-stranger", maxRetries: 0 });
const model = "gpt-image-2";
const endpoint = "/v1/images/edits";
const path = (name) => `${folder}/${name}`;
const hash = (kind, data) => createHash(kind).update(data).digest("hex");

async function statusOf(call) {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof APIError)) throw error;
    const known = Boolean(error.requestID) && error.requestID === error.headers.get("x-request-id");
    return [error.status, error.param, error.code, known];
  }
  return [200];
}

async function every(items) {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
}

function pictureKind(b64) {
  return { "89504e": "png", ffd8ff: "jpeg" }[Buffer.from(b64, "base64").subarray(0, 3).toString("hex")];
}

async function uploads() {
  const data = await readFile(path("data.jsonl"));
  const md5 = hash("md5", data);
  const fields = { bytes: data.length, mime_type: "text/jsonl", purpose: "fine-tune" };

  async function sent(filename, sizes, more = {}) {
    const upload = await client.uploads.create({ filename, ...fields, ...more });
    const parts = await Promise.all(sizes.map(async ([start, end]) => (
      client.uploads.parts.create(upload.id, { data: await toFile(data.subarray(start, end), filename) })
    )));
    return client.uploads.complete(upload.id, { part_ids: parts.map((part) => part.id), md5 });
  }

  const half = Math.floor(data.length / 2);
  const week = { expires_after: { anchor: "created_at", seconds: 604800 } };
  const done = await sent("träin.jsonl", [[0, half], [half, data.length]], week);
  const steps = Array.from({ length: Math.ceil(data.length / 65536) }, (_, n) => [n * 65536, (n + 1) * 65536]);
  const chunked = await sent("data.jsonl", steps);
  const dropped = await client.uploads.create({ filename: "b", ...fields });
  const cancelled = await client.uploads.cancel(dropped.id);
  const refused = await statusOf(() => client.uploads.complete(dropped.id, { part_ids: [] }));
  return {
    uploaded: [done.status, done.file.id, done.file.filename, done.file.expires_at - done.created_at],
    chunked: [chunked.status, chunked.file.id, chunked.file.filename],
    cancelled: [cancelled.status, refused[0]],
  };
}

async function files() {
  const file = createReadStream(path("data.jsonl"));
  const expires_after = { anchor: "created_at", seconds: 3600 };
  const made = await client.files.create({ file, purpose: "batch", expires_after });
  const ready = await client.files.waitForProcessing(made.id);
  const listed = await every(client.files.list({ limit: 1, order: "asc" }));
  const batches = await every(client.files.list({ purpose: "batch" }));
  const again = await client.files.retrieve(made.id);
  const content = await client.files.content(made.id);
  const body = Buffer.from(await content.arrayBuffer());
  const gone = await client.files.delete(made.id);
  return {
    made: [ready.status, again.filename, again.bytes, again.expires_at - again.created_at],
    listed: listed.map((one) => one.filename),
    batches: batches.length,
    content: hash("sha256", body),
    deleted: gone.deleted,
    missing: await statusOf(() => client.files.retrieve(made.id)),
  };
}

async function edits() {
  const otter = () => toFile(createReadStream(path("otter.png")), "otter.png", { type: "image/png" });
  const mask = await toFile(createReadStream(path("mask.png")), "mask.png", { type: "image/png" });
  const several = await client.images.edit({
    image: await otter(), mask, prompt: "a beret", model, n: 2, output_format: "jpeg",
  });
  const one = await client.images.edit({
    image: [await otter(), await otter()], prompt: "together", model, size: "1024x1024",
  });
  const stream = await client.images.edit({
    image: await otter(), prompt: "slowly", model, stream: true, partial_images: 2,
  });
  const events = await every(stream);
  return {
    several: several.data.map((each) => pictureKind(each.b64_json)),
    usage: one.usage.total_tokens > 0 && one.usage.total_tokens === one.usage.input_tokens + one.usage.output_tokens,
    one: one.data.map((each) => pictureKind(each.b64_json)),
    events: events.map((event) => event.type),
    last: pictureKind(events.at(-1).b64_json),
    refused: await statusOf(async () => client.images.edit({ image: await otter(), prompt: "x", model, n: 11 })),
    moderated: await statusOf(async () => client.images.edit({ image: await otter(), prompt: "forbidden", model })),
  };
}

async function batches() {
  const picture = await toFile(createReadStream(path("otter.png")), "otter.png", { type: "image/png" });
  const seen = await client.files.create({ file: picture, purpose: "vision" });
  const body = { model, images: [{ file_id: seen.id }] };
  const lines = [["good", "a beret"], ["bad", "forbidden"]].map(([custom_id, prompt]) => (
    JSON.stringify({ custom_id, method: "POST", url: endpoint, body: { ...body, prompt } })
  ));
  const file = await client.files.create({ file: await toFile(Buffer.from(lines.join("\n")), "in.jsonl"), purpose: "batch" });
  const wanted = { input_file_id: file.id, endpoint, completion_window: "24h" };
  let batch = await client.batches.create({ ...wanted, metadata: { run: "7" } });
  while (!["completed", "failed"].includes(batch.status)) {
    await new Promise((resolve) => { setTimeout(resolve, 10); });
    batch = await client.batches.retrieve(batch.id);
  }
  const outputs = [];
  for (const id of [batch.output_file_id, batch.error_file_id]) {
    outputs.push(JSON.parse(await (await client.files.content(id)).text()));
  }
  const stopped = await client.batches.cancel((await client.batches.create(wanted)).id);
  const listed = await every(client.batches.list({ limit: 1 }));
  const counts = batch.request_counts;
  return {
    batch: [batch.status, counts.total, counts.completed, counts.failed, batch.metadata],
    lines: outputs.map((each) => [each.custom_id, each.response.status_code]),
    output: pictureKind(outputs[0].response.body.data[0].b64_json),
    stopped: stopped.status,
    all: listed.map((each) => each.id).join() === [stopped.id, batch.id].join(),
    late: await statusOf(() => client.batches.cancel(batch.id)),
  };
}

const facts = { version: VERSION, stranger: await statusOf(() => stranger.files.list()) };
for (const part of [uploads, files, edits, batches]) Object.assign(facts, await part());
console.log(JSON.stringify(facts));
