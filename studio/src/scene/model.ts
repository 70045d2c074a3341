/// What is painted where: the document of the Compose page. Lengths are pixels of the canvas, and
/// the first region lies in front. docs/regions.md has what each value means.

export interface Point {
  x: number;
  y: number;
}

export interface Box {
  top: number;
  left: number;
  bottom: number;
  right: number;
}

/// What a brush did: a line with a width, or a filled outline.
export interface Stroke {
  kind: 'brush' | 'fill';
  points: [x: number, y: number, pressure: number][];
  size: number; ///< Of the brush, in pixels.
  erase: boolean;
}

export type Shape =
  | { kind: 'box'; box: Box }
  | { kind: 'polygon'; points: Point[] }
  /// `file` is a mask on the server, under the strokes; empty: none.
  | { kind: 'mask'; file: string; strokes: Stroke[] }
  | { kind: 'background' };

export interface Region {
  id: string;
  name: string;
  color: number; ///< Index into the palette of regions.
  prompt: string;
  negative: string;
  weight: number;
  feather: number;
  start: number;
  end: number;
  visible: boolean; ///< Hidden regions are not painted.
  shape: Shape;
  rest: Record<string, unknown>; ///< Keys that this page has no place for, kept as they are.
}

export interface Condition {
  id: string;
  adapter: string;
  picture: string;
  weight: number;
  region: string; ///< The id of the region inside whose bounds it holds; empty: everywhere.
  start: number;
  end: number;
  guess: boolean;
  rest: Record<string, unknown>;
}

export interface Scene {
  width: number;
  height: number;
  prompt: string;
  negative: string;
  rootPrompt: string;
  rootNegative: string;
  overlap: string;
  baseRatio: number;
  isolate: boolean;
  regions: Region[];
  conditions: Condition[];
  rest: Record<string, unknown>;
}

export const kRegionColors = 8;
/// Regions above this number seldom all come out.
export const kManyRegions = 5;
/// Side of the smallest region: one position of the finest layers of Stable Diffusion.
export const kLeastSide = 8;

export function newId(): string {
  return Math.random().toString(36).slice(2, 10);
}

export function emptyScene(width = 512, height = 512): Scene {
  return {
    width,
    height,
    prompt: '',
    negative: '',
    rootPrompt: '',
    rootNegative: '',
    overlap: 'mean',
    baseRatio: 0,
    isolate: false,
    regions: [],
    conditions: [],
    rest: {},
  };
}

export function newRegion(shape: Shape, more: Partial<Region> = {}): Region {
  return {
    id: newId(),
    name: '',
    color: 0,
    prompt: '',
    negative: '',
    weight: 1,
    feather: 0,
    start: 0,
    end: 1,
    visible: true,
    shape,
    rest: {},
    ...more,
  };
}

/// The colour that the fewest regions have.
export function freeColor(regions: Region[]): number {
  const uses = Array.from({ length: kRegionColors }, () => 0);
  for (const region of regions) uses[region.color % kRegionColors]!++;
  return uses.indexOf(Math.min(...uses));
}

/// `region` in front of the others.
export function withRegion(scene: Scene, region: Region): Scene {
  return { ...scene, regions: [{ ...region, color: freeColor(scene.regions) }, ...scene.regions] };
}

export function changeRegion(scene: Scene, id: string, change: Partial<Region>): Scene {
  const regions = scene.regions.map((region) =>
    region.id === id ? { ...region, ...change } : region,
  );
  return { ...scene, regions };
}

/// Its conditions go with it.
export function withoutRegion(scene: Scene, id: string): Scene {
  return {
    ...scene,
    regions: scene.regions.filter((region) => region.id !== id),
    conditions: scene.conditions.filter((condition) => condition.region !== id),
  };
}

/// The region stands at `place` afterwards; 0 is the front.
export function moveRegion(scene: Scene, id: string, place: number): Scene {
  const region = scene.regions.find((other) => other.id === id);
  if (!region) return scene;
  const regions = scene.regions.filter((other) => other !== region);
  regions.splice(Math.max(0, Math.min(place, regions.length)), 0, region);
  return { ...scene, regions };
}

/// What a region is called in lists: its name, else its number as `--redo-region` counts.
export function regionTitle(region: Region, index: number): string {
  return region.name || (region.shape.kind === 'background' ? 'Background' : `Region ${index + 1}`);
}

/// The nearest point of the canvas.
export function onCanvas({ x, y }: Point, { width, height }: { width: number; height: number }): Point {
  return { x: Math.min(width, Math.max(0, x)), y: Math.min(height, Math.max(0, y)) };
}

/// The part of a box on the canvas: what is pulled over an edge ends there.
export function cutBox(box: Box, scene: { width: number; height: number }): Box {
  const { x: left, y: top } = onCanvas({ x: box.left, y: box.top }, scene);
  const { x: right, y: bottom } = onCanvas({ x: box.right, y: box.bottom }, scene);
  return clampBox({ top, left, bottom, right }, scene);
}

/// The box at its size, brought back onto the canvas.
export function clampBox(box: Box, scene: { width: number; height: number }): Box {
  const width = Math.min(Math.max(box.right - box.left, kLeastSide), scene.width);
  const height = Math.min(Math.max(box.bottom - box.top, kLeastSide), scene.height);
  const left = Math.min(Math.max(box.left, 0), scene.width - width);
  const top = Math.min(Math.max(box.top, 0), scene.height - height);
  return { top, left, bottom: top + height, right: left + width };
}

/// The smallest box around all that a shape can cover.
export function boundsOf(shape: Shape, scene: { width: number; height: number }): Box {
  const whole = { top: 0, left: 0, bottom: scene.height, right: scene.width };
  if (shape.kind === 'box') return shape.box;
  if (shape.kind === 'background') return whole;
  if (shape.kind === 'polygon') return boundsOfPoints(shape.points, 0, scene);
  if (shape.file) return whole;
  const drawn = shape.strokes.filter((stroke) => !stroke.erase);
  const points = drawn.flatMap((stroke) => {
    const reach = stroke.kind === 'brush' ? stroke.size / 2 : 0;
    return stroke.points.flatMap(([x, y]) => [
      { x: x - reach, y: y - reach },
      { x: x + reach, y: y + reach },
    ]);
  });
  return boundsOfPoints(points, 0, scene);
}

function boundsOfPoints(points: Point[], reach: number, scene: { width: number; height: number }) {
  if (points.length === 0) return { top: 0, left: 0, bottom: 0, right: 0 };
  const xs = points.map((point) => point.x);
  const ys = points.map((point) => point.y);
  return {
    top: Math.max(0, Math.min(...ys) - reach),
    left: Math.max(0, Math.min(...xs) - reach),
    bottom: Math.min(scene.height, Math.max(...ys) + reach),
    right: Math.min(scene.width, Math.max(...xs) + reach),
  };
}

/// What the sides of a canvas can be: multiples of 8, and as many pixels as a picture is worth.
export const kCanvasSides = { step: 8, least: 64, most: 4096 };

export function canvasSide(side: number): number {
  const { step, least, most } = kCanvasSides;
  return Math.min(most, Math.max(least, Math.round(side / step) * step));
}

/// The scene on another canvas, everything in proportion.
export function resized(scene: Scene, width: number, height: number): Scene {
  const sx = width / scene.width;
  const sy = height / scene.height;
  const regions = scene.regions.map((region) => ({
    ...region,
    shape: scaled(region.shape, sx, sy),
  }));
  return { ...scene, width, height, regions };
}

function scaled(shape: Shape, sx: number, sy: number): Shape {
  if (shape.kind === 'background') return shape;
  if (shape.kind === 'polygon') {
    return { kind: 'polygon', points: shape.points.map(({ x, y }) => ({ x: x * sx, y: y * sy })) };
  }
  if (shape.kind === 'mask') {
    const strokes = shape.strokes.map((stroke) => ({
      ...stroke,
      size: stroke.size * Math.sqrt(sx * sy),
      points: stroke.points.map(([x, y, pressure]): Stroke['points'][number] => [
        x * sx,
        y * sy,
        pressure,
      ]),
    }));
    return { ...shape, strokes };
  }
  const { top, left, bottom, right } = shape.box;
  return {
    kind: 'box',
    box: { top: top * sy, left: left * sx, bottom: bottom * sy, right: right * sx },
  };
}

/// The shape moved by a number of pixels, still on the canvas.
export function shifted(shape: Shape, dx: number, dy: number, scene: Scene): Shape {
  const bounds = boundsOf(shape, scene);
  const x = Math.min(Math.max(dx, -bounds.left), scene.width - bounds.right);
  const y = Math.min(Math.max(dy, -bounds.top), scene.height - bounds.bottom);
  if (shape.kind === 'box') {
    const { top, left, bottom, right } = shape.box;
    return { kind: 'box', box: { top: top + y, left: left + x, bottom: bottom + y, right: right + x } };
  }
  if (shape.kind === 'polygon') {
    return { kind: 'polygon', points: shape.points.map((p) => ({ x: p.x + x, y: p.y + y })) };
  }
  if (shape.kind === 'mask' && !shape.file) {
    const strokes = shape.strokes.map((stroke) => ({
      ...stroke,
      points: stroke.points.map(([px, py, p]): Stroke['points'][number] => [px + x, py + y, p]),
    }));
    return { ...shape, strokes };
  }
  return shape;
}

/// The same area as something that a brush can change.
export function asMask(shape: Shape): Shape {
  if (shape.kind === 'mask') return shape;
  if (shape.kind === 'background') return { kind: 'mask', file: '', strokes: [] };
  const corners =
    shape.kind === 'polygon'
      ? shape.points
      : [
          { x: shape.box.left, y: shape.box.top },
          { x: shape.box.right, y: shape.box.top },
          { x: shape.box.right, y: shape.box.bottom },
          { x: shape.box.left, y: shape.box.bottom },
        ];
  const points = corners.map(({ x, y }): Stroke['points'][number] => [x, y, 0.5]);
  return { kind: 'mask', file: '', strokes: [{ kind: 'fill', points, size: 0, erase: false }] };
}
