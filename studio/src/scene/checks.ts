import { boundsOf, kManyRegions, regionTitle, type Box, type Region, type Scene } from './model';
import { angleWords, promptsOf, type KnownConcept } from './words';

/// What would have no effect, or none that is wanted, said before anything is painted. The server
/// checks again, with the model at hand.

export interface Finding {
  kind: 'error' | 'warning' | 'note';
  text: string;
  region: string; ///< Whose it is; empty: the scene's.
}

const kSizeUnit = 8;

export function checkScene(scene: Scene, known: KnownConcept[]): Finding[] {
  const shown = scene.regions.filter((region) => region.visible);
  return [
    ...checkCanvas(scene),
    ...scene.regions.flatMap((region, index) =>
      region.visible ? checkRegion(region, regionTitle(region, index), scene) : [],
    ),
    ...checkSaid(scene),
    ...checkWords(scene, known),
    ...checkCovered(scene, shown),
    ...checkConditions(scene),
    ...checkCrowd(shown),
  ];
}

function checkCanvas(scene: Scene): Finding[] {
  if (scene.width % kSizeUnit === 0 && scene.height % kSizeUnit === 0) return [];
  const text = `The canvas is ${scene.width} × ${scene.height}, but both sides must be multiples of 8.`;
  return [{ kind: 'error', text, region: '' }];
}

function checkRegion(region: Region, title: string, scene: Scene): Finding[] {
  const found: Finding[] = [];
  const add = (kind: Finding['kind'], text: string) => found.push({ kind, text, region: region.id });
  if (region.prompt.trim() === '') add('error', `${title} has no prompt.`);
  const { shape } = region;
  if (shape.kind === 'mask' && !shape.file && !shape.strokes.some((stroke) => !stroke.erase)) {
    add('error', `Nothing is painted in ${title}.`);
  } else if (shape.kind !== 'background') {
    const box = boundsOf(shape, scene);
    if (box.right - box.left < kSizeUnit || box.bottom - box.top < kSizeUnit) {
      add('warning', `${title} is smaller than one position of the network: its prompt may not be read.`);
    }
  }
  if (region.start >= region.end) add('error', `${title} ends before it begins.`);
  return found;
}

/// A prompt that is empty everywhere is allowed, and seldom meant.
function checkSaid(scene: Scene): Finding[] {
  if ([scene.prompt, scene.rootPrompt].some((text) => text.trim() !== '') || scene.regions.some((region) => region.visible)) return [];
  return [{ kind: 'note', text: 'No prompt says what is in the picture: anything may come.', region: '' }];
}

function checkWords(scene: Scene, known: KnownConcept[]): Finding[] {
  const words = new Set(known.flatMap((concept) => concept.words));
  const found: Finding[] = [];
  for (const prompt of new Set(promptsOf(scene))) {
    const used = new Set(angleWords(prompt));
    for (const word of used) {
      if (words.has(word)) continue;
      const region = scene.regions.find((other) => other.prompt === prompt || other.negative === prompt);
      const text = `No concept here brings the word ${word}.`;
      found.push({ kind: 'error', text, region: region?.id ?? '' });
    }
    for (const concept of known) {
      const missing = concept.words.filter((word) => word.startsWith('<') && !used.has(word));
      if (missing.length === 0 || missing.length === concept.words.length) continue;
      const region = scene.regions.find((other) => other.prompt === prompt);
      const text = `A prompt has only a part of ${concept.name}: ${missing.join(' ')} is missing.`;
      found.push({ kind: 'warning', text, region: region?.id ?? '' });
    }
  }
  return found;
}

/// With "front", a box that lies wholly behind another one has no effect.
function checkCovered(scene: Scene, shown: Region[]): Finding[] {
  if (scene.overlap !== 'front') return [];
  return shown.flatMap((region, index) => {
    if (region.shape.kind === 'background') return [];
    const box = boundsOf(region.shape, scene);
    const cover = shown
      .slice(0, index)
      .find((front) => front.shape.kind === 'box' && front.weight === 1 && contains(front.shape.box, box));
    if (!cover) return [];
    const title = (one: Region) => regionTitle(one, scene.regions.indexOf(one));
    const text = `${title(region)} lies wholly behind ${title(cover)} and has no effect.`;
    return [{ kind: 'warning' as const, text, region: region.id }];
  });
}

function contains(outer: Box, inner: Box): boolean {
  return (
    outer.top <= inner.top && outer.left <= inner.left &&
    outer.bottom >= inner.bottom && outer.right >= inner.right
  );
}

function checkConditions(scene: Scene): Finding[] {
  return scene.conditions.flatMap((condition) => {
    const region = condition.region;
    if (!condition.picture) return [{ kind: 'error' as const, text: 'A condition has no picture.', region }];
    if (!condition.adapter) return [{ kind: 'error' as const, text: 'A condition has no adapter.', region }];
    return [];
  });
}

function checkCrowd(shown: Region[]): Finding[] {
  const places = shown.filter((region) => region.shape.kind !== 'background').length;
  if (places <= kManyRegions) return [];
  const text = `${places} regions: more than ${kManyRegions} seldom all come out.`;
  return [{ kind: 'note', text, region: '' }];
}

/// The share of the canvas that boxes and polygons cover, measured on a grid.
export function coverage(scene: Scene): number {
  const shown = scene.regions.filter((region) => region.visible);
  if (shown.some((region) => region.shape.kind === 'background')) return 1;
  const side = 64;
  let covered = 0;
  for (let row = 0; row < side; ++row) {
    for (let column = 0; column < side; ++column) {
      const x = ((column + 0.5) / side) * scene.width;
      const y = ((row + 0.5) / side) * scene.height;
      if (shown.some((region) => isInside(region, x, y, scene))) ++covered;
    }
  }
  return covered / (side * side);
}

function isInside(region: Region, x: number, y: number, scene: Scene): boolean {
  const { shape } = region;
  if (shape.kind === 'polygon') return insidePolygon(shape.points, x, y);
  if (shape.kind === 'mask' && !shape.file) {
    let inside = false;
    for (const stroke of shape.strokes) {
      const points = stroke.points.map(([px, py]) => ({ x: px, y: py }));
      const hit =
        stroke.kind === 'fill' ? insidePolygon(points, x, y) : nearLine(points, x, y, stroke.size / 2);
      if (hit) inside = !stroke.erase;
    }
    return inside;
  }
  const box = boundsOf(shape, scene);
  return x >= box.left && x < box.right && y >= box.top && y < box.bottom;
}

function insidePolygon(points: { x: number; y: number }[], x: number, y: number): boolean {
  let inside = false;
  points.forEach((a, at) => {
    const b = points[(at + points.length - 1) % points.length]!;
    const crosses = a.y > y !== b.y > y && x < ((b.x - a.x) * (y - a.y)) / (b.y - a.y) + a.x;
    if (crosses) inside = !inside;
  });
  return inside;
}

function nearLine(points: { x: number; y: number }[], x: number, y: number, reach: number): boolean {
  return points.some((a, at) => {
    const b = points[at + 1] ?? a;
    const length = (b.x - a.x) ** 2 + (b.y - a.y) ** 2;
    const along = length === 0 ? 0 : ((x - a.x) * (b.x - a.x) + (y - a.y) * (b.y - a.y)) / length;
    const t = Math.min(1, Math.max(0, along));
    return Math.hypot(x - a.x - t * (b.x - a.x), y - a.y - t * (b.y - a.y)) <= reach;
  });
}
