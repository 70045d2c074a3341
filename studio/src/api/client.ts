import type {
  Capabilities, Concept, ConceptFile, ConceptSummary, Discarded, Info, Job, JobRequest, Model, Options,
  Picture, PictureDetail, PictureRead,
} from './types';
import { learnNames, plainly } from './plain';

/// Requests to the server. Each throws a Failure, whose message is a sentence for people. What the
/// program says in its answers comes in the words of the pages.

export class Failure extends Error {
  constructor(
    message: string,
    readonly kind: string,
    readonly status: number,
  ) {
    super(message);
  }
}

const kRoot = '/mos/v1';

async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method, credentials: 'same-origin' };
  if (body instanceof Blob) {
    init.body = body;
    init.headers = { 'Content-Type': body.type || 'application/octet-stream' };
  } else if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { 'Content-Type': 'application/json' };
  }
  const response = await fetch(kRoot + path, init).catch(() => {
    throw new Failure('The studio does not answer. Is it still running?', 'offline', 0);
  });
  const kind = String((body as { kind?: string } | undefined)?.kind ?? '');
  if (!response.ok) throw await failureOf(response, kind);
  return plainly((await response.json()) as T, kind);
}

async function failureOf(response: Response, kind: string): Promise<Failure> {
  const answer = plainly(await response.json().catch(() => null), kind);
  const error = answer?.error;
  if (typeof error?.message === 'string') {
    return new Failure(error.message, String(error.kind), response.status);
  }
  return new Failure(`The studio answered ${response.status}.`, 'internal', response.status);
}

const get = <T>(path: string) => request<T>('GET', path);
const post = <T>(path: string, body?: unknown) => request<T>('POST', path, body ?? {});
const seg = encodeURIComponent;

/// The address of a file of the studio's folder.
export function fileUrl(path: string, version = ''): string {
  return urlIn('files', path, version);
}

/// The same of a picture for a small place: nobody's photograph of 60 megapixels is read for a tile.
export function thumbnailUrl(path: string, version = ''): string {
  return urlIn('thumbnails', path, version);
}

function urlIn(route: string, path: string, version: string): string {
  const url = `${kRoot}/${route}/${path.split('/').map(seg).join('/')}`;
  return version ? `${url}?v=${seg(version)}` : url;
}

function query(values: Record<string, unknown>): string {
  const parts = Object.entries(values)
    .filter(([, value]) => value !== undefined && value !== '' && value !== false)
    .map(([key, value]) => `${key}=${seg(String(value))}`);
  return parts.length > 0 ? `?${parts.join('&')}` : '';
}

export const api = {
  login: (token: string) => post('/login', { token }),
  info: () => get<Info>('/info'),
  capabilities: async () => {
    const known = await get<Capabilities>('/capabilities');
    learnNames(known);
    return known;
  },
  models: () => get<{ models: Model[] }>('/models').then((answer) => answer.models),

  jobs: (values: { state?: string; kind?: string; limit?: number; before?: number } = {}) =>
    get<{ jobs: Job[] }>(`/jobs${query(values)}`).then((answer) => answer.jobs),
  queue: () => get<{ queue: Job[] }>('/queue').then((answer) => answer.queue),
  job: (id: number) => get<Job>(`/jobs/${id}`),
  start: (job: JobRequest) => post<Job>('/jobs', job),
  check: (job: JobRequest) => post<{ problems: string[]; command: string }>('/check', job),
  act: (id: number, action: string, body?: unknown) => post<Job>(`/jobs/${id}/${action}`, body),
  repeat: (id: number, options: Options = {}) => post<Job>(`/jobs/${id}/repeat`, { options }),
  removeJob: (id: number) => request('DELETE', `/jobs/${id}`),
  log: (id: number) =>
    get<{ lines: { level: string; message: string }[] }>(`/jobs/${id}/log`).then((a) => a.lines),
  curve: (id: number) => get<{ steps: number[]; losses: number[] }>(`/jobs/${id}/curve`),
  report: (id: number) => get<Record<string, unknown>>(`/jobs/${id}/report`),

  concepts: () => get<{ concepts: ConceptSummary[] }>('/concepts').then((a) => a.concepts),
  concept: (name: string, framing: Options = {}) =>
    get<Concept>(`/concepts/${seg(name)}${query(framing)}`),
  newConcept: (settings: Options) => post<ConceptSummary>('/concepts', settings),
  changeConcept: (name: string, settings: Options) =>
    request<ConceptSummary>('PATCH', `/concepts/${seg(name)}`, settings),
  removeConcept: (name: string) => request<Discarded>('DELETE', `/concepts/${seg(name)}`),
  putPicture: (name: string, file: string, body: Blob) =>
    request('PUT', `/concepts/${seg(name)}/pictures/${seg(file)}`, body),
  removePicture: (name: string, file: string) =>
    request<Discarded>('DELETE', `/concepts/${seg(name)}/pictures/${seg(file)}`),
  putMask: (name: string, picture: string, body: Blob) =>
    request('PUT', `/concepts/${seg(name)}/masks/${seg(picture)}`, body),
  removeMask: (name: string, picture: string) =>
    request<Discarded>('DELETE', `/concepts/${seg(name)}/masks/${seg(picture)}`),
  setCaptions: (name: string, captions: Record<string, string | null>) =>
    request('PATCH', `/concepts/${seg(name)}/captions`, captions),

  conceptFiles: () => get<{ files: ConceptFile[] }>('/concept-files').then((a) => a.files),
  putConceptFile: (file: string, body: Blob) =>
    request<ConceptFile>('PUT', `/concept-files/${seg(file)}`, new Blob([body], { type: 'application/octet-stream' })),
  removeConceptFile: (path: string) =>
    request<Discarded>('DELETE', `/concept-files/${seg(path.split('/').pop() ?? path)}`),
  upload: (file: string, body: Blob) =>
    request<{ path: string; width: number; height: number }>('PUT', `/uploads/${seg(file)}`, body),

  gallery: (values: { search?: string; starred?: boolean; limit?: number; before?: number }) =>
    get<{ pictures: Picture[]; total: number }>(`/gallery${query(values)}`),
  picture: (id: number) => get<PictureDetail>(`/gallery/${id}`),
  changePicture: (id: number, change: { starred?: boolean; note?: string }) =>
    request('PATCH', `/gallery/${id}`, change),
  addPicture: (body: Blob) => request<Picture>('POST', '/gallery', body),
  removePictures: (ids: number[]) => post<Discarded>('/gallery/delete', { ids }),
  restore: (moved: Discarded['moved']) => post('/trash/restore', { moved }),
  readPicture: (body: Blob) => request<PictureRead>('POST', '/pictures/read', body),
  pictureUrl: (id: number) => `${kRoot}/gallery/${id}/picture`,
  thumbnailUrl: (id: number) => `${kRoot}/gallery/${id}/thumbnail`,
  archiveUrl: (ids: number[]) => `${kRoot}/gallery/archive?ids=${ids.join(',')}`,

  projects: () =>
    get<{ projects: { id: number; title: string; changed: string }[] }>('/projects').then(
      (answer) => answer.projects,
    ),
  project: (id: number) => get<{ id: number; title: string; content: Options }>(`/projects/${id}`),
  addProject: (title: string, content: Options) =>
    post<{ id: number }>('/projects', { title, content }),
  saveProject: (id: number, title: string, content: Options) =>
    request('PUT', `/projects/${id}`, { title, content }),
  removeProject: (id: number) => request('DELETE', `/projects/${id}`),

  samplers: async (): Promise<string[]> => {
    const response = await fetch('/sdapi/v1/samplers').catch(() => null);
    if (!response?.ok) return [];
    const list = (await response.json()) as { name: string }[];
    return list.map((sampler) => sampler.name);
  },
};
