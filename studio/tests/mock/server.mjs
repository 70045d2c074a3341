// A stand-in for `mos studio` with sample data, for looking at the pages and for their tests:
// the shapes of docs/openapi.json, jobs that pretend to run, nothing on disk.
//   node tests/mock/server.mjs [PORT] [PICTURES]
import { readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { makeData, pngSize } from './data.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, '../../dist/index.html');
const kTick = 120;
const kSteps = 24;

const port = Number(process.argv[2] ?? 7861);
let data = makeData(Number(process.argv[3] ?? 240));
const streams = new Set();
const uploads = new Map();
const undos = new Map(); // by place in the trash
let eventId = 0;
let refuseStreams = false;
let failNext = '';

const kMethodHelp = {
  tune: { ed_lora: 'a row for each layer and word, LoRA on attention (Mix-of-Show)', lora: 'one row for each word, and LoRA on attention (LoRA)' },
  fuse: { gradient: "gradient fusion: what each concept's inputs ask for, solved exactly", ties: 'TIES: largest entries, one sign for each' },
};

/// What the server refuses, word for word (tests/real/refusals.spec.ts holds it to that).
const refusals = JSON.parse(readFileSync(join(here, 'refusals.json'), 'utf8'));

class Refusal extends Error {
  constructor(status, kind, message) {
    super(message);
    this.status = status;
    this.kind = kind;
  }
}

const events = [];
function tell(event, body) {
  const entry = { id: ++eventId, event, data: body };
  events.push(entry);
  if (events.length > 2000) events.shift();
  const text = `id: ${entry.id}\nevent: ${event}\ndata: ${JSON.stringify(body)}\n\n`;
  for (const stream of streams) stream.write(text);
}

// ---- jobs ----

function can(job) {
  const list = {
    queued: ['cancel', 'move'], running: job.kind === 'tune' ? ['cancel', 'pause'] : ['cancel'],
    paused: ['resume', 'cancel'], interrupted: ['resume', 'repeat', 'delete'],
  };
  return list[job.state] ?? ['repeat', 'delete'];
}

function queue() {
  const waiting = data.jobs.filter((job) => job.state === 'running' || job.state === 'queued');
  waiting.sort((a, b) => (a.state === 'running' ? -1 : b.state === 'running' ? 1 : a.order - b.order));
  waiting.forEach((job, position) => (job.position = position));
  return waiting;
}

function changed(job) {
  job.can = can(job);
  if (job.state !== 'running' && job.state !== 'queued') job.position = null;
  const list = queue();
  tell('job', shown(job));
  tell('queue', { queue: list.map((other) => other.id) });
}

function shown({ order: _order, ...job }) {
  return job;
}

function newJob(body) {
  const id = Math.max(0, ...data.jobs.map((job) => job.id)) + 1;
  const job = {
    id, order: id, kind: body.kind, title: body.title ?? body.kind, state: 'queued', dry_run: !!body.dry_run,
    device: 'cpu', position: null, created: new Date().toISOString(), started: null, ended: null,
    options: body.options ?? {}, scene: body.scene ?? null, words: body.words ?? [], progress: null,
    previews: [], results: [], estimate: null, error: null, note: null,
    command: `mos ${body.kind} --config jobs/${id}/job.json`, can: [],
  };
  if (job.kind === 'tune' && !job.dry_run && !job.options.out) {
    const name = `concept-files/${String(job.options.data).split('/').pop()}`;
    const taken = (path) => data.conceptFiles.some((file) => file.path === path);
    let count = 1;
    while (taken(`${name}${count > 1 ? `-${count}` : ''}.safetensors`)) ++count;
    job.options = { ...job.options, out: `${name}${count > 1 ? `-${count}` : ''}.safetensors` };
  }
  if (failNext) job.willFail = failNext;
  failNext = '';
  data.jobs.push(job);
  changed(job);
  return job;
}

function tick() {
  const list = queue();
  const job = list.find((one) => one.state === 'running') ?? list[0];
  if (!job) return;
  if (job.state === 'queued') {
    job.state = 'running';
    job.started = new Date().toISOString();
    return changed(job);
  }
  const total = job.kind === 'tune' ? 600 : kSteps;
  const by = job.kind === 'tune' ? (job.held ? 0 : 6) : job.held ? 0 : 2;
  const step = Math.min(total, (job.progress?.step ?? 0) + by);
  const stage = { tune: 'tuning', sample: 'painting', fuse: 'cross_attention' }[job.kind] ?? job.kind;
  const loss = job.kind === 'tune' ? 0.08 + 0.2 * Math.exp(-step / 150) + 0.01 * Math.sin(step) : null;
  job.progress = { stage, step, total, loss, seconds: step * 0.4, left: (total - step) * 0.4 };
  tell('progress', { job: job.id, progress: job.progress });
  if (job.kind === 'sample' && step % 6 === 0 && !job.dry_run) preview(job, data.samplePicture(job));
  if (job.kind === 'tune' && step % 150 === 0 && !job.dry_run) previewTune(job, step);
  if (step < total && !job.willFail) return;
  finish(job);
}

function preview(job, path) {
  job.previews.push(path);
  tell('preview', { job: job.id, path });
}

function previewTune(job, step) {
  for (const prompt of [1, 2]) {
    preview(job, `jobs/${job.id}/previews/step-${String(step).padStart(6, '0')}-${prompt}.png`);
  }
}

function finish(job) {
  job.state = job.willFail ? 'failed' : 'done';
  job.ended = new Date().toISOString();
  if (job.willFail) {
    job.error = { kind: 'mismatch', message: job.willFail, exit_code: 4 };
  } else if (job.dry_run) {
    job.estimate = { seconds: 95, memory: 1.9e9, measured: 'measured on 2 of 50 steps, 1.9 s each' };
  } else if (job.kind === 'sample') {
    const count = Number(job.options.count ?? 1);
    const added = Array.from({ length: count }, (_, at) => data.addPicture(job, at));
    job.results = added.map((picture) => picture.path);
    tell('gallery', { added: added.map((picture) => picture.id) });
  } else {
    data.addResult(job);
    tell('files', {});
  }
  changed(job);
}

/// Answers a deletion; `back` undoes it.
function discarded(path, back) {
  const trash = `trash/${undos.size}-${path.split('/').pop()}`;
  undos.set(trash, back);
  return { done: true, moved: [{ path, trash }] };
}

// ---- routes ----

const routes = [
  ['GET', '/info', () => data.info],
  ['GET', '/capabilities', () => ({ jobs: schemas(), methods: { help: kMethodHelp }, notices: data.notices })],
  ['GET', '/models', () => ({ models: data.models })],
  ['GET', '/concept-files', () => ({ files: data.conceptFiles })],
  ['PUT', '/concept-files/(.+)', (_q, body, file) => data.addConceptFile(file, body.length)],
  ['DELETE', '/concept-files/(.+)', (_q, _b, file) => {
    const before = data.conceptFiles;
    data.removeConceptFile(file);
    tell('files', {});
    return discarded(`concept-files/${file}`, () => { data.conceptFiles = before; tell('files', {}); });
  }],
  ['POST', '/trash/restore', (_q, { moved }) => {
    for (const { trash } of moved) found(undos.get(trash), trash)();
    for (const { trash } of moved) undos.delete(trash);
    return { done: true };
  }],
  ['GET', '/jobs', ({ state, kind, limit, before }) => ({
    jobs: [...data.jobs].sort((a, b) => b.id - a.id)
      .filter((job) => (!state || job.state === state) && (!kind || job.kind === kind) && (!before || job.id < Number(before)))
      .slice(0, Number(limit ?? 100)).map(shown),
  })],
  ['GET', '/queue', () => ({ queue: queue().map(shown) })],
  ['POST', '/jobs', (_q, body) => [201, shown(newJob(checked(body)))]],
  ['POST', '/check', (_q, body) => ({ problems: data.problemsOf(checked(body)), command: `mos ${body.kind} --config job.json` })],
  ['GET', '/jobs/(\\d+)', (_q, _b, id) => shown(jobOf(id))],
  ['DELETE', '/jobs/(\\d+)', (_q, _b, id) => {
    data.jobs = data.jobs.filter((job) => job !== jobOf(id));
    return { done: true };
  }],
  ['POST', '/jobs/(\\d+)/(cancel|pause|resume|repeat|move)', (_q, body, id, action) => act(jobOf(id), action, body)],
  ['GET', '/jobs/(\\d+)/log', () => ({ lines: data.log })],
  ['GET', '/jobs/(\\d+)/curve', (_q, _b, id) => data.curve(jobOf(id))],
  ['GET', '/jobs/(\\d+)/report', (_q, _b, id) => data.report(jobOf(id))],
  ['GET', '/events/poll', ({ after }) => ({
    events: after === undefined ? [] : events.filter(({ id }) => id > Number(after)), last: eventId,
  })],
  ['GET', '/concepts', () => ({ concepts: data.concepts.map(data.summary) })],
  ['POST', '/concepts', (_q, body) => [201, data.summary(data.addConcept(body))]],
  ['GET', '/concepts/([^/]+)', (_q, _b, name) => found(data.concept(name), `concept ${name}`)],
  ['PATCH', '/concepts/([^/]+)', (_q, body, name) => data.summary(Object.assign(found(data.concept(name), `concept ${name}`), body))],
  ['DELETE', '/concepts/([^/]+)', (_q, _b, name) => {
    const before = data.concepts;
    data.concepts = before.filter((one) => one.name !== name);
    tell('concept', { name });
    return discarded(`concepts/${name}`, () => { data.concepts = before; tell('concept', { name }); });
  }],
  ['PUT', '/concepts/([^/]+)/pictures/([^/]+)', (_q, body, name, file) => {
    if (body[0] !== 0x89) throw new Refusal(422, 'format', notPicture(file));
    const picture = data.putPicture(name, file, body);
    uploads.set(picture.file, body);
    tell('concept', { name });
    return [201, { path: picture.file, width: picture.width, height: picture.height }];
  }],
  ['DELETE', '/concepts/([^/]+)/pictures/([^/]+)', (_q, _b, name, file) => {
    const concept = found(data.concept(name), `concept ${name}`);
    const before = concept.pictures;
    concept.pictures = before.filter((one) => !one.file.endsWith(`/${file}`));
    tell('concept', { name });
    return discarded(`concepts/${name}/images/${file}`, () => { concept.pictures = before; tell('concept', { name }); });
  }],
  ['(PUT|DELETE)', '/concepts/([^/]+)/masks/([^/]+)', (_q, body, name, picture, method) => {
    const entry = found(found(data.concept(name), `concept ${name}`).pictures.find((one) => one.name === picture));
    const before = entry.mask;
    entry.mask = method === 'PUT' ? `concepts/${name}/masks/${picture}.png` : null;
    if (entry.mask) uploads.set(entry.mask, body);
    tell('concept', { name });
    return entry.mask ? { done: true } : discarded(before, () => { entry.mask = before; tell('concept', { name }); });
  }],
  ['PATCH', '/concepts/([^/]+)/captions', (_q, body, name) => {
    for (const picture of found(data.concept(name), `concept ${name}`).pictures) {
      if (picture.name in body) picture.caption = body[picture.name] ?? '';
    }
    tell('concept', { name });
    return { done: true };
  }],
  ['PUT', '/uploads/(.+)', (_q, body, file) => {
    const path = `uploads/${file}`;
    uploads.set(path, body);
    return [201, { path, ...pngSize(body) }];
  }],
  ['GET', '/gallery', (query) => data.gallery(query)],
  ['POST', '/gallery', (_q, body) => [201, data.addUpload(body)]],
  ['POST', '/gallery/delete', (_q, { ids }) => {
    const before = data.pictures;
    data.pictures = before.filter((picture) => !ids.includes(picture.id));
    tell('gallery', { removed: ids });
    return discarded(`gallery/${ids[0]}.png`, () => { data.pictures = before; tell('gallery', { added: ids }); });
  }],
  ['GET', '/gallery/(\\d+)', (_q, _b, id) => data.pictureDetail(Number(id))],
  ['PATCH', '/gallery/(\\d+)', (_q, body, id) => {
    const picture = Object.assign(found(data.picture(Number(id))), body);
    tell('gallery', { changed: [picture.id] });
    return picture;
  }],
  ['POST', '/pictures/read', (_q, body) => {
    if (body.length < 8 || body[0] !== 0x89) throw new Refusal(422, 'format', notPicture('the picture'));
    return data.record;
  }],
  ['GET', '/projects', () => ({ projects: data.projects.map(({ content: _c, ...rest }) => rest) })],
  ['POST', '/projects', (_q, body) => [201, data.addProject(body)]],
  ['GET', '/projects/(\\d+)', (_q, _b, id) => found(data.projects.find((one) => one.id === Number(id)))],
  ['PUT', '/projects/(\\d+)', (_q, body, id) => Object.assign(found(data.projects.find((one) => one.id === Number(id))), body)],
  ['DELETE', '/projects/(\\d+)', (_q, _b, id) => {
    data.projects = data.projects.filter((one) => one.id !== Number(id));
    return { done: true };
  }],
];

function schemas() {
  const names = readdirSync(join(here, 'schemas'));
  return Object.fromEntries(
    names.map((name) => [name.replace('.json', ''), JSON.parse(readFileSync(join(here, 'schemas', name)))]),
  );
}

function checked(body) {
  const schema = schemas()[body.kind];
  if (!schema) throw new Refusal(400, 'usage', `there is no kind of job "${body.kind}"`);
  for (const name of Object.keys(body.options ?? {})) {
    if (!(name in schema.properties)) throw new Refusal(400, 'usage', `"${name}" is unknown`);
  }
  return body;
}

function notPicture(name) {
  return `${name} is not a picture we can read (PNG, JPEG or WebP)`;
}

function found(value, what = 'such thing') {
  if (!value) throw new Refusal(404, 'usage', `there is no ${what}`);
  return value;
}

function jobOf(id) {
  return found(data.jobs.find((job) => job.id === Number(id)), `job ${id}`);
}

function act(job, action, body) {
  if (!job.can.includes(action)) throw new Refusal(409, 'usage', `job ${job.id} is ${job.state}; what can be done with it: ${job.can.join(', ')}`);
  if (action === 'repeat') {
    return [201, shown(newJob({ ...job, options: { ...job.options, ...body.options } }))];
  }
  if (action === 'move') {
    const list = queue().filter((one) => one !== job && one.state === 'queued');
    list.splice(body.position, 0, job);
    list.forEach((one, at) => (one.order = at));
  }
  if (action === 'cancel') Object.assign(job, { state: 'cancelled', ended: new Date().toISOString() });
  if (action === 'pause') job.state = 'paused';
  if (action === 'resume') Object.assign(job, { state: 'queued', note: null });
  changed(job);
  return shown(job);
}

// ---- what tests ask of the stand-in itself ----

const control = {
  reset: (body) => {
    data = makeData(body.pictures ?? 240, body);
    events.length = 0;
    refuseStreams = !!body.refuseStreams;
    if (refuseStreams) control.cut();
    uploads.clear();
  },
  hold: (body) => data.jobs.forEach((job) => (job.held = body.held)),
  fail: (body) => (failNext = body.message),
  cut: () => {
    for (const stream of streams) stream.end();
    streams.clear();
  },
};

// ---- HTTP ----

function serveFile(response, path) {
  const bytes = uploads.get(path) ?? data.file(path);
  if (!bytes) return send(response, 404, { error: { kind: 'usage', message: `there is no ${path}` } });
  response.writeHead(200, { 'Content-Type': 'image/png', 'Cache-Control': 'max-age=60' });
  response.end(bytes);
}

function send(response, status, body) {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(body));
}

function stream(response) {
  if (refuseStreams) {
    return send(response, 503, { error: { kind: 'busy', message: 'Too many streams are open.' } });
  }
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  response.write(`id: ${eventId}\nevent: hello\ndata: {"last":${eventId}}\n\n`);
  streams.add(response);
  response.on('close', () => streams.delete(response));
}

async function bodyOf(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  const bytes = Buffer.concat(parts);
  const isJson = (request.headers['content-type'] ?? '').includes('json');
  return isJson ? JSON.parse(bytes.toString() || '{}') : bytes;
}

function refuse(method, path, body) {
  const text = JSON.stringify(Buffer.isBuffer(body) ? body.toString() : body);
  const known = refusals.find((one) => one.method === method && one.path === path && JSON.stringify(one.body ?? '') === text);
  if (known) throw new Refusal(known.status, known.error.kind, known.error.message);
}

function answer(request, response, url, body) {
  refuse(request.method, url.pathname, body);
  const path = url.pathname.slice('/mos/v1'.length);
  const query = Object.fromEntries(url.searchParams);
  for (const [method, pattern, run] of routes) {
    const match = new RegExp(`^${pattern}$`).exec(path);
    if (!match || !new RegExp(`^${method}$`).test(request.method)) continue;
    const names = match.slice(1).map(decodeURIComponent);
    const result = run(query, body, ...names, request.method);
    return Array.isArray(result) ? send(response, ...result) : send(response, 200, result);
  }
  throw new Refusal(404, 'usage', `There is no ${request.method} ${url.pathname}.`);
}

createServer(async (request, response) => {
  const url = new URL(request.url, `http://127.0.0.1:${port}`);
  try {
    if (url.pathname === '/') {
      response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' });
      return response.end(readFileSync(dist));
    }
    if (url.pathname.startsWith('/mock/')) {
      control[url.pathname.slice(6)](await bodyOf(request));
      return send(response, 200, {});
    }
    if (url.pathname === '/sdapi/v1/samplers') return send(response, 200, data.samplers);
    if (url.pathname === '/mos/v1/events') return stream(response);
    const file = /^\/mos\/v1\/(?:files|thumbnails)\/(.+)$/.exec(url.pathname);
    if (file) return serveFile(response, decodeURIComponent(file[1]));
    const picture = /^\/mos\/v1\/gallery\/(\d+)\/(?:picture|thumbnail)$/.exec(url.pathname);
    if (picture) return serveFile(response, found(data.picture(Number(picture[1]))).path);
    answer(request, response, url, await bodyOf(request));
  } catch (error) {
    const status = error.status ?? 500;
    send(response, status, { error: { kind: error.kind ?? 'internal', message: error.message } });
  }
}).listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${port}`));

setInterval(tick, kTick);
