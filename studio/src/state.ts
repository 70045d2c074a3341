import { api, Failure } from './api/client';
import { listen, type Link } from './api/events';
import type { Capabilities, ConceptFile, Discarded, Info, Job, Model, Options, Progress } from './api/types';
import { newStore } from './store';

/// What all pages share, kept true by the server's events.

export interface Toast {
  id: number;
  text: string;
  kind: 'info' | 'error';
  action?: { label: string; run: () => void };
}

export const jobs = newStore<ReadonlyMap<number, Job>>(new Map());
export const queueOrder = newStore<number[]>([]);
export const link = newStore<Link>('offline');
export const info = newStore<Info | null>(null);
export const capabilities = newStore<Capabilities | null>(null);
export const models = newStore<Model[]>([]);
export const conceptFiles = newStore<ConceptFile[]>([]);
export const toasts = newStore<Toast[]>([]);
export const startFailure = newStore<Failure | null>(null);
export const samplers = newStore<string[]>([]);
/// Counts up when pictures came, went or changed; by concept for theirs.
export const galleryVersion = newStore(0);
export const conceptVersion = newStore<Record<string, number>>({});

const kAllConcepts = '';

/// Another number whenever the concept may be another.
export function versionOf(versions: Record<string, number>, name: string): number {
  return (versions[name] ?? 0) + (versions[kAllConcepts] ?? 0);
}

const kRecentJobs = 100;
/// What pages look for however long ago it was, and the most that the server gives of each.
const kLasting = [{ kind: 'tune' }, { kind: 'fuse' }, { state: 'paused' }, { state: 'interrupted' }];
const kMostJobs = 1000;
const kToastMilliseconds = 7000;
const kActionMilliseconds = 20_000; ///< Of one with a button, which has to be read and reached.
let toastCount = 0;

export function say(text: string, kind: Toast['kind'] = 'info', action?: Toast['action']) {
  const toast = { id: ++toastCount, text, kind, ...(action ? { action } : {}) };
  toasts.set((old) => [...old.slice(-3), toast]);
  window.setTimeout(() => dismiss(toast.id), action ? kActionMilliseconds : kToastMilliseconds);
}

/// Says what was deleted, and gives it back to who says so.
export function sayDeleted(what: string, { moved }: Discarded) {
  const undo = { label: 'Undo', run: () => void attempt(() => api.restore(moved)) };
  say(`${what} in the trash of the studio’s folder.`, 'info', undo);
}

export function dismiss(id: number) {
  toasts.set((old) => old.filter((toast) => toast.id !== id));
}

/// What cannot be said in passing: one line for each file or field that is concerned.
export interface Line {
  name: string;
  text: string;
}

export interface Report {
  title: string;
  lines: Line[];
}

export const report = newStore<Report | null>(null);

/// Stays until somebody closes it.
export function tell(next: Report) {
  report.set(next);
}

/// Runs what a person asked for, and says why when it does not work.
export async function attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), 'error');
    return undefined;
  }
}

function putJob(job: Job) {
  jobs.set((old) => new Map(old).set(job.id, job));
}

/// A job that was just made. Its events may have come before this answer, and know more.
export function addJob(job: Job) {
  if (!jobs.get().has(job.id)) putJob(job);
}

const kOpenStates = ['queued', 'running', 'paused', 'interrupted'];

/// The job once nothing more will come of it; undefined where it was taken off the list before.
export function ended(id: number): Promise<Job | undefined> {
  return new Promise((resolve) => {
    const look = () => {
      const job = jobs.get().get(id);
      if (job && kOpenStates.includes(job.state)) return;
      stop();
      resolve(job);
    };
    const stop = jobs.watch(look);
    look();
  });
}

export function forgetJob(id: number) {
  jobs.set((old) => {
    const rest = new Map(old);
    rest.delete(id);
    return rest;
  });
}

/// Jobs that run or wait, in the order in which they will be worked on.
export function queued(all: ReadonlyMap<number, Job>, order: number[]): Job[] {
  return order
    .map((id) => all.get(id))
    .filter((job): job is Job => job?.state === 'running' || job?.state === 'queued');
}

/// What painting on a model begins with in place of the program's options, as its folder says. A fused
/// model that says nothing goes by the base that it was fused on.
export function paintingDefaults(path: string): Options {
  const list = models.get();
  const saidBy = (wanted: string) => list.find((model) => model.path === wanted)?.painting ?? {};
  const own = saidBy(path);
  if (Object.keys(own).length > 0) return own;
  const made = [...jobs.get().values()].find((job) => job.results.includes(path));
  return saidBy(String(made?.options.base ?? path));
}

export async function reloadFiles() {
  const [newModels, newFiles] = await Promise.all([api.models(), api.conceptFiles()]);
  models.set(newModels);
  conceptFiles.set(newFiles);
}

/// What events told while lists were on their way is newer than these.
const news = { jobs: new Set<number>(), queue: false };

async function reloadJobs() {
  news.jobs.clear();
  news.queue = false;
  const [queue, recent, ...lasting] = await Promise.all([
    api.queue(), api.jobs({ limit: kRecentJobs }), ...kLasting.map((filter) => api.jobs({ ...filter, limit: kMostJobs })),
  ]);
  const told = [...news.jobs].map((id) => jobs.get().get(id)).filter((job) => job !== undefined);
  jobs.set(new Map([...lasting.flat(), ...recent, ...queue, ...told].map((job) => [job.id, job])));
  if (!news.queue) queueOrder.set(queue.map((job) => job.id));
}

/// Another folder may be served since.
async function reloadInfo() {
  info.set(await api.info());
}

async function reloadAll() {
  await Promise.all([reloadJobs(), reloadFiles(), reloadInfo()]);
  galleryVersion.set((count) => count + 1);
  conceptVersion.set((old) => ({ ...old, [kAllConcepts]: (old[kAllConcepts] ?? 0) + 1 }));
}

let stopListening = () => {};

/// Loads what every page needs and listens from then on; once more when a studio that was started anew asks
/// for its token.
export async function start() {
  stopListening();
  try {
    await reloadInfo();
    startFailure.set(null);
  } catch (error) {
    startFailure.set(error instanceof Failure ? error : new Failure(String(error), 'internal', 0));
    return;
  }
  if (location.hash.length < 3) await attempt(goToFirstPage);
  stopListening(); // of another call that came to here
  stopListening = listen(onEvent, (state) => link.set(state), () => void start()); // its first event loads the lists
  await attempt(loadForms);
}

/// Who has nothing to paint with yet begins with pictures, others compose.
export async function goToFirstPage() {
  const painted = (await api.gallery({ limit: 1 })).total > 0;
  const isNew = !painted && (await api.conceptFiles()).length === 0;
  location.replace(isNew ? '#/concepts' : '#/compose');
}

/// What forms are made of: the server may have to ask the program first.
async function loadForms() {
  const told = await api.capabilities();
  capabilities.set(told);
  sayOnce(told.notices);
  samplers.set(await api.samplers());
}

const kSeenKey = 'mos-notices';

/// What the server has to say since it started is news once, not with every reload.
function sayOnce(notices: string[]) {
  const seen = new Set<string>(JSON.parse(localStorage.getItem(kSeenKey) ?? '[]'));
  localStorage.setItem(kSeenKey, JSON.stringify(notices));
  for (const notice of notices) if (!seen.has(notice)) say(notice);
}

function onEvent(event: string, data: Record<string, unknown>) {
  if (event === 'hello' || event === 'reset') void attempt(reloadAll);
  if (event === 'job') onJob(data as unknown as Job);
  if (event === 'queue') onQueue(data.queue as number[]);
  if (event === 'progress') onProgress(data.job as number, data.progress as Progress);
  if (event === 'preview') onPreview(data.job as number, data.path as string);
  if (event === 'gallery') galleryVersion.set((count) => count + 1);
  if (event === 'files') void attempt(reloadFiles);
  if (event === 'notice') onNotice(data.message as string);
  if (event === 'concept') {
    const name = data.name as string;
    conceptVersion.set((old) => ({ ...old, [name]: (old[name] ?? 0) + 1 }));
  }
}

function onNotice(message: string) {
  say(message);
  localStorage.setItem(kSeenKey, JSON.stringify([...JSON.parse(localStorage.getItem(kSeenKey) ?? '[]'), message]));
}

function onQueue(order: number[]) {
  news.queue = true;
  queueOrder.set(order);
}

function onJob(job: Job) {
  news.jobs.add(job.id);
  const before = jobs.get().get(job.id);
  putJob(job);
  if (!before || before.state === job.state) return;
  if (job.state === 'failed' && job.error) say(`${job.title}: ${job.error.message}`, 'error');
  const isLong = job.kind === 'tune' || job.kind === 'fuse';
  if (job.state === 'done' && isLong && !job.dry_run) say(`${job.title} is ready.`);
}

function onProgress(id: number, progress: Progress) {
  const job = jobs.get().get(id);
  if (job) putJob({ ...job, progress });
}

/// A preview that keeps its name is a new picture all the same: the list says each time it came.
function onPreview(id: number, path: string) {
  const job = jobs.get().get(id);
  if (job) putJob({ ...job, previews: [...job.previews, path] });
}
