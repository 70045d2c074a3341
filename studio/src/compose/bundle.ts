import { fileUrl } from '../api/client';
import { zipOf, type Entry } from '../ui/zip';

/// A scene file and the pictures that it names: masks of regions, pictures of conditions.

type Json = Record<string, unknown>;

const kPlaces: [list: string, key: string][] = [['regions', 'mask'], ['conditions', 'picture']];

/// The last part of a path.
export function nameIn(path: string): string {
  return path.split('/').pop() ?? path;
}

/// The pictures that a scene names, each once.
export function picturesIn(scene: unknown): string[] {
  const paths = new Set<string>();
  withPictures(scene, (path) => {
    paths.add(path);
    return path;
  });
  return [...paths];
}

/// The scene with other paths for its pictures. What is no scene stays as it is.
export function withPictures<T>(scene: T, pathOf: (path: string) => string): T {
  if (typeof scene !== 'object' || scene === null) return scene;
  const changed: Json = { ...(scene as Json) };
  for (const [list, key] of kPlaces) {
    const entries = changed[list];
    if (!Array.isArray(entries)) continue;
    changed[list] = entries.map((entry: Json | null) => {
      const path = entry?.[key];
      return typeof path === 'string' && path ? { ...entry, [key]: pathOf(path) } : entry;
    });
  }
  return changed as T;
}

const textOf = (scene: unknown) => `${JSON.stringify(scene, null, 2)}\n`;

/// What a scene is given away as: its file, or an archive of that and the pictures that it names, which lie
/// beside it. Throws an Error where one of these is not there.
export async function packed(scene: Json, title: string): Promise<{ name: string; blob: Blob; pictures: number }> {
  const paths = picturesIn(scene);
  if (paths.length === 0) return { name: `${title}.json`, blob: new Blob([textOf(scene)], { type: 'application/json' }), pictures: 0 };
  const names = new Map<string, string>();
  const entries: Entry[] = [];
  for (const path of paths) {
    names.set(path, freeName(nameIn(path), [...names.values()]));
    entries.push({ name: names.get(path)!, bytes: await bytesOf(path) });
  }
  const text = new TextEncoder().encode(textOf(withPictures(scene, (path) => names.get(path)!)));
  const archive = zipOf([{ name: `${title}.json`, bytes: text }, ...entries]);
  return { name: `${title}.zip`, blob: new Blob([archive], { type: 'application/zip' }), pictures: entries.length };
}

async function bytesOf(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const answer = await fetch(fileUrl(path)).catch(() => null);
  if (!answer?.ok) throw new Error(`${path}, which the scene names, is not there.`);
  return new Uint8Array(await answer.arrayBuffer());
}

function freeName(name: string, taken: string[]): string {
  const dot = name.lastIndexOf('.');
  for (let count = 1; ; ++count) {
    const next = count === 1 ? name : `${name.slice(0, dot)}-${count}${name.slice(dot)}`;
    if (!taken.includes(next)) return next;
  }
}
