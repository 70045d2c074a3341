// Sample data: the concepts of base/concepts, fused models, jobs, a gallery of any size.
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');
const kConcepts = ['wizard', 'teddy', 'racer', 'azure', 'dawn', 'lavender'];
const kPlaces = ['in a meadow', 'on the beach', 'in the snow', 'at night in the city', 'on a red background'];

const cache = new Map();
function read(path) {
  if (!cache.has(path)) cache.set(path, readFileSync(path));
  return cache.get(path);
}

export function pngSize(bytes) {
  if (bytes.length < 24 || bytes[0] !== 0x89) return { width: null, height: null };
  return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
}

const words = (name) => [`<${name}1>`, `<${name}2>`];

function conceptFolder(name) {
  const folder = join(root, 'base/concepts', name);
  const settings = JSON.parse(read(join(folder, 'concept.json')));
  const pictures = readdirSync(join(folder, 'images')).map((file, at) => {
    const stem = file.replace('.png', '');
    const flags = at === 5 ? ['blurred'] : at === 6 ? ['duplicate'] : [];
    return {
      name: stem, file: `concepts/${name}/images/${file}`, width: 128, height: 128,
      mask: at === 3 ? null : `concepts/${name}/masks/${file}`,
      caption: read(join(folder, 'captions', `${stem}.txt`)).toString().trim(), repeats: 1,
      crops: [0, 1, 2, 3].map((k) => ({
        source: { top: k * 4, left: 12 - k * 4, height: 112 - k * 4, width: 112 - k * 4 },
        target: { top: 0, left: 0, height: 128, width: 128 },
      })),
      sharpness: 812 - at * 90, flags, duplicate_of: at === 6 ? '02' : null,
      problems: name === 'racer' && at === 4 ? ['captions/04.txt has neither <TOK> nor the words of the concept'] : [],
    };
  });
  return {
    name, words: settings.words, class_word: settings.class_word ?? '', caption: null, templates: null,
    summary: `${pictures.length} pictures, ${pictures.length - 1} with a mask, ${pictures.length} with a caption`,
    problems: name === 'racer' ? ['captions/04.txt has neither <TOK> nor the words of the concept'] : [],
    warnings: [], size: 128, pictures,
  };
}

const kLong = 'my-very-long-concept-name-from-some-web-site-v12-final-pruned-fp16-emaonly';

function job(id, kind, title, state, more = {}) {
  const can = { paused: ['resume', 'cancel'], queued: ['cancel', 'move'], interrupted: ['resume', 'repeat', 'delete'] }[state] ?? ['repeat', 'delete'];
  const time = new Date(Date.now() - (20 - id) * 7e5).toISOString();
  return {
    id, order: id, kind, title, state, dry_run: false, device: 'cpu', position: null, created: time,
    started: time, ended: time, options: {}, scene: null, words: [], progress: null, previews: [],
    results: [], estimate: null, error: null, note: null, command: `mos ${kind} --config jobs/${id}/job.json`,
    can, ...more,
  };
}

function sampleJobs() {
  const previews = [150, 300, 450, 600].flatMap((step) =>
    [1, 2].map((prompt) => `jobs/1/previews/step-${String(step).padStart(6, '0')}-${prompt}.png`),
  );
  return [
    job(1, 'tune', 'wizard', 'done', { options: { data: 'concepts/wizard', out: 'concept-files/wizard.safetensors' }, previews, results: ['concept-files/wizard.safetensors'] }),
    job(2, 'tune', 'teddy', 'interrupted', {
      options: { data: 'concepts/teddy' }, note: 'The server ended while this ran; it goes on from step 300.',
      progress: { stage: 'tuning', step: 300, total: 600, loss: 0.11, seconds: 120, left: 120 },
    }),
    job(3, 'fuse', 'wizard and teddy', 'done', { options: { concepts: ['concept-files/wizard.safetensors', 'concept-files/teddy.safetensors'] }, results: ['fused/3'] }),
    job(4, 'fuse', 'three of them', 'failed', {
      error: { kind: 'mismatch', message: 'racer.safetensors was tuned on another base model: its words have 1024 numbers, this model takes 768. Tune it again on this base.', exit_code: 4 },
    }),
  ];
}

class Data {
  constructor(count, { empty = false, many = false, later = 0 } = {}) {
    this.info = { version: '0.1.0', folder: '/home/me/pictures', interface: true, devices: ['cpu'], limits: { json: 1e6, picture: 64e6, concept_file: 4e9, streams: 128 } };
    this.notices = empty ? [] : [];
    this.concepts = empty ? [] : kConcepts.slice(0, 4).map(conceptFolder);
    this.models = empty ? [] : [
      { path: 'models/base', kind: 'base', words: [], size: 128 },
      { path: 'fused/3', kind: 'fused', words: [...words('wizard'), ...words('teddy')], size: 128 },
      { path: 'models/adapters/keypose', kind: 'adapter', words: [] },
    ];
    const names = many ? [...kConcepts, ...Array.from({ length: 30 }, (_, at) => `friend${String.fromCharCode(97 + at % 26)}x${at}y`), kLong] : kConcepts.slice(0, 4);
    this.conceptFiles = empty ? [] : names.map((name) => ({
      path: `concept-files/${name}.safetensors`, bytes: 2.4e6, words: name === kLong ? ['sks'] : words(name),
      made_by: name === kLong ? 'kohya' : 'Mix-of-Show LoRA', problem: null,
    }));
    if (many) this.conceptFiles.push({ path: 'concept-files/broken.safetensors', bytes: 12, words: [], made_by: null, problem: 'broken.safetensors ends after 12 bytes, but its header alone has 4096.' });
    this.jobs = empty ? [] : sampleJobs();
    for (let at = 0; at < later; ++at) this.jobs.push(job(5 + at, 'sample', `later ${at}`, 'done')); // as a server that was used since has them
    this.pictures = empty ? [] : Array.from({ length: count }, (_, at) => this.newPicture(at + 1));
    this.projects = [];
    this.log = [
      { level: 'info', message: 'tuning wizard on 8 pictures, 7 with a mask, 8 with a caption' },
      { level: 'warning', message: 'captions/03.txt has two lines; the first one is read' },
    ];
    this.samplers = ['Euler', 'Euler a', 'DPM++ 2M', 'DPM++ 2M SDE', 'DPM++ 3M SDE', 'UniPC', 'DDIM', 'LCM'].map((name) => ({ name, aliases: [], options: {} }));
    this.record = {
      program: 'mixofshow',
      options: { prompt: 'a meadow', height: 128, width: 384, steps: 30, seed: 7, guidance_scale: 3.5, base: 'fused/3' },
      scene: {
        prompt: 'a meadow', height: 128, width: 384,
        regions: [
          { name: 'wizard', prompt: 'a photo of a <wizard1> <wizard2> in a meadow', box: [0.05, 0.02, 1, 0.32] },
          { name: 'teddy', prompt: 'a photo of a <teddy1> <teddy2> in a meadow', box: [0.05, 0.35, 1, 0.65] },
        ],
      },
    };
    this.summary = (concept) => ({
      name: concept.name, words: concept.words ?? [], class_word: concept.class_word ?? '', pictures: concept.pictures.length,
      masks: concept.pictures.filter((one) => one.mask).length, captions: concept.pictures.filter((one) => one.caption).length,
      cover: concept.pictures[0]?.file ?? null,
    });
  }

  newPicture(id) {
    const name = kConcepts[id % kConcepts.length];
    const wide = id % 5 === 0;
    const path = wide ? `gallery/scene-${id}.png` : `gallery/${name}-${id}.png`;
    return {
      id, path, job: null, created: new Date(Date.now() - (1e4 - id) * 6e5).toISOString(), width: wide ? 384 : 128,
      height: 128, prompt: wide ? `a ${kPlaces[id % 5].replace(/^\w+ (a |the )?/, '')}, with regions` : `a photo of a ${words(name).join(' ')} ${kPlaces[(id * 3) % 5]}`,
      seed: 1000 + id, starred: id % 11 === 0, note: '',
    };
  }

  /// The sample picture that stands for `path`.
  file(path) {
    const concept = /^concepts\/(\w+)\/(images|masks)\/(.+)$/.exec(path);
    if (concept) return safe(join(root, 'base/concepts', concept[1], concept[2], concept[3]));
    const number = Number(/(\d+)\D*$/.exec(path)?.[1] ?? 0);
    if (path.includes('scene')) return safe(join(root, 'docs/scene.png'));
    const name = kConcepts.find((one) => path.includes(one)) ?? kConcepts[number % kConcepts.length];
    return safe(join(root, 'base/concepts', name, 'images', `0${number % 8}.png`));
  }

  samplePicture(job) {
    return job.scene && job.scene.width > job.scene.height ? `jobs/${job.id}/scene.preview.png` : `jobs/${job.id}/wizard.preview.png`;
  }

  addPicture(job, at) {
    const id = Math.max(0, ...this.pictures.map((one) => one.id)) + 1;
    const wide = job.scene && job.scene.width > job.scene.height;
    const picture = {
      ...this.newPicture(id), job: job.id, path: wide ? `gallery/scene-${id}.png` : `gallery/${job.id}-wizard-${id}.png`,
      created: new Date().toISOString(), prompt: job.scene?.prompt ?? '', seed: Number(job.options.seed ?? 0) + at, starred: false,
      width: job.scene?.width ?? 128, height: job.scene?.height ?? 128,
    };
    this.pictures.push(picture);
    return picture;
  }

  addUpload() {
    return this.addPicture({ id: 0, options: {}, scene: null }, 0);
  }

  addResult(job) {
    if (job.kind === 'tune') {
      const name = String(job.options.data).split('/').pop();
      job.results = [`concept-files/${name}.safetensors`];
      this.addConceptFile(`${name}.safetensors`, 2.4e6);
    }
    if (job.kind === 'fuse' && job.options.lora) {
      job.results = [job.options.lora];
      this.addConceptFile(job.options.lora.split('/').pop(), 2.4e6);
    } else if (job.kind === 'fuse') {
      job.results = [`fused/${job.id}`];
      const all = (job.options.concepts ?? []).map((path) => path.split('/').pop().replace('.safetensors', ''));
      this.models.push({ path: `fused/${job.id}`, kind: 'fused', words: all.flatMap(words), size: 128 });
    }
    if (job.kind === 'condition') job.results = [`uploads/${job.id}.png`];
  }

  addConceptFile(file, bytes) {
    const entry = { path: `concept-files/${file}`, bytes, words: words(file.replace(/\..*$/, '')), made_by: 'Mix-of-Show LoRA', problem: null };
    this.conceptFiles = [...this.conceptFiles.filter((one) => one.path !== entry.path), entry];
    return entry;
  }

  removeConceptFile(file) {
    this.conceptFiles = this.conceptFiles.filter((one) => one.path !== `concept-files/${file}`);
    return { done: true };
  }

  problemsOf(body) {
    const known = [...this.conceptFiles, ...this.models].flatMap((one) => one.words);
    const text = JSON.stringify(body.scene ?? {});
    const lost = [...text.matchAll(/<[^<>:\s]+>/g)].map((match) => match[0]).filter((word) => !known.includes(word));
    return [...new Set(lost)].map((word) => `No concept brings the word ${word}.`);
  }

  curve(job) {
    const end = job.progress?.step ?? (job.state === 'done' ? 600 : 0);
    const steps = Array.from({ length: Math.floor(end / 3) }, (_, at) => at * 3 + 1);
    return { steps, losses: steps.map((step) => 0.08 + 0.2 * Math.exp(-step / 150) + 0.012 * Math.sin(step * 1.7)) };
  }

  report(job) {
    if (job.kind === 'evaluate') {
      const fused = String(job.options.pictures?.[0] ?? '').length % 7;
      return { pictures: 4, references: 8, image_alignment: 0.52 + fused * 0.015, references_among_themselves: 0.71, text_alignment: 0.66 };
    }
    const names = ['wizard', 'teddy'];
    const fit = (scale) => Object.fromEntries(names.map((name, at) => [name, { before: 20 * scale + at, after: (6 + 3 * at) * scale, crosstalk: (2 + at) * scale }]));
    return {
      method: 'gradient', concepts: names, objective: 'mean squared output error', total: { before: 40, after: 14, crosstalk: 5 }, total_by_concept: fit(1),
      stages: ['text_encoder', 'cross_attention', 'unet'].map((stage, at) => ({ stage, total: { before: [4, 12, 24][at], after: [1, 4, 9][at], crosstalk: [0.4, 1.6, 3][at] } })),
      layers: ['text_encoder', 'cross_attention', 'unet'].map((stage, at) => ({ stage, layer: `${stage}.0`, concepts: fit([0.1, 0.3, 0.6][at]) })),
    };
  }

  concept(name) {
    return this.concepts.find((one) => one.name === name);
  }

  addConcept(body) {
    const concept = { caption: null, templates: null, problems: ['There are no pictures yet.'], warnings: [], summary: '0 pictures', size: 128, pictures: [], words: [], class_word: '', ...body };
    this.concepts.push(concept);
    return concept;
  }

  putPicture(name, file, body) {
    const concept = this.concept(name);
    const stem = file.replace(/\.[^.]+$/, '');
    const size = pngSize(body);
    const picture = {
      name: stem, file: `concepts/${name}/images/${file}`, width: size.width ?? 512, height: size.height ?? 512, mask: null, caption: '',
      repeats: 1, crops: [{ source: { top: 0, left: 0, height: size.height ?? 512, width: size.width ?? 512 }, target: { top: 0, left: 0, height: 128, width: 128 } }],
      sharpness: 500, flags: [], duplicate_of: null, problems: [],
    };
    concept.pictures = [...concept.pictures.filter((one) => one.name !== stem), picture];
    concept.problems = [];
    concept.summary = `${concept.pictures.length} pictures, 0 with a mask, 0 with a caption`;
    return picture;
  }

  picture(id) {
    return this.pictures.find((one) => one.id === id);
  }

  pictureDetail(id) {
    const picture = this.picture(id);
    return { picture, record: { ...this.record.options, scene: this.record.scene }, command: `mos sample --rerun ${picture.path} --out again.png` };
  }

  gallery({ search = '', starred, limit = 100, before }) {
    const found = this.pictures
      .filter((one) => (!starred || one.starred) && `${one.prompt} ${one.note}`.toLowerCase().includes(search.toLowerCase()))
      .sort((a, b) => b.id - a.id);
    const rest = before ? found.filter((one) => one.id < Number(before)) : found;
    return { pictures: rest.slice(0, Number(limit)), total: found.length };
  }

  addProject({ title, content }) {
    const project = { id: this.projects.length + 1, title, content, changed: new Date().toISOString() };
    this.projects.push(project);
    return project;
  }
}

function safe(path) {
  try {
    return read(path);
  } catch {
    return undefined;
  }
}

export function makeData(count, options = {}) {
  return new Data(count, options);
}
