import {
  boundsOf,
  emptyScene,
  kRegionColors,
  newId,
  newRegion,
  type Box,
  type Condition,
  type Point,
  type Region,
  type Scene,
  type Shape,
} from './model';

/// Scenes as the files that `mos sample --scene` reads (docs/regions.md).

type Json = Record<string, unknown>;

/// The file of a scene. `maskOf` gives the path of a painted region's picture. Hidden regions and
/// their conditions are not in it; values that are the program's defaults are not written.
export function sceneToJson(scene: Scene, maskOf: (region: Region) => string): Json {
  const shown = scene.regions.filter((region) => region.visible);
  const json: Json = { prompt: scene.prompt };
  put(json, 'negative_prompt', scene.negative, '');
  put(json, 'root_prompt', scene.rootPrompt, '');
  put(json, 'root_negative_prompt', scene.rootNegative, '');
  json.height = scene.height;
  json.width = scene.width;
  put(json, 'overlap', scene.overlap, 'mean');
  put(json, 'base_ratio', scene.baseRatio, 0);
  put(json, 'isolate', scene.isolate, false);
  json.regions = shown.map((region) => regionToJson(region, maskOf));
  const conditions = scene.conditions.filter(
    (condition) => !condition.region || shown.some((region) => region.id === condition.region),
  );
  if (conditions.length > 0) {
    json.conditions = conditions.map((condition) => conditionToJson(condition, scene));
  }
  return { ...json, ...scene.rest };
}

/// The scene of a file. `fallback` is the canvas of a file that names none. Throws an Error that
/// says what is wrong.
export function sceneFromJson(
  json: unknown,
  fallback: { width: number; height: number } = { width: 512, height: 512 },
): Scene {
  if (!isObject(json)) throw new Error('This is not a scene: a JSON object was expected.');
  const canvas = {
    width: numberIn(json, 'width', fallback.width),
    height: numberIn(json, 'height', fallback.height),
  };
  const scene: Scene = {
    ...emptyScene(canvas.width, canvas.height),
    prompt: textIn(json, 'prompt'),
    negative: textIn(json, 'negative_prompt'),
    rootPrompt: textIn(json, 'root_prompt'),
    rootNegative: textIn(json, 'root_negative_prompt'),
    overlap: textIn(json, 'overlap', 'mean'),
    baseRatio: numberIn(json, 'base_ratio', 0),
    isolate: json.isolate === true,
    rest: without(json, kSceneKeys),
  };
  scene.regions = listIn(json, 'regions').map((entry, index) => regionFromJson(entry, index, canvas));
  scene.conditions = listIn(json, 'conditions').map((entry) => conditionFromJson(entry, scene));
  return scene;
}

const kSceneKeys = [
  'prompt', 'negative_prompt', 'root_prompt', 'root_negative_prompt', 'height', 'width', 'overlap',
  'base_ratio', 'isolate', 'regions', 'conditions',
];
const kRegionKeys = [
  'prompt', 'negative_prompt', 'box', 'polygon', 'mask', 'background', 'weight', 'feather', 'start',
  'end', 'name',
];
const kConditionKeys = ['adapter', 'picture', 'weight', 'start', 'end', 'guess_mode'];

function regionToJson(region: Region, maskOf: (region: Region) => string): Json {
  const json: Json = {};
  put(json, 'name', region.name, '');
  json.prompt = region.prompt;
  put(json, 'negative_prompt', region.negative, '');
  const { shape } = region;
  if (shape.kind === 'box') json.box = boxToJson(shape.box);
  if (shape.kind === 'polygon') json.polygon = shape.points.map(({ x, y }) => [tidy(y), tidy(x)]);
  if (shape.kind === 'mask') json.mask = maskOf(region);
  if (shape.kind === 'background') json.background = true;
  put(json, 'weight', region.weight, 1);
  put(json, 'feather', region.feather, 0);
  put(json, 'start', region.start, 0);
  put(json, 'end', region.end, 1);
  return { ...json, ...region.rest };
}

function regionFromJson(entry: unknown, index: number, canvas: { width: number; height: number }) {
  const where = `Region ${index + 1}`;
  if (!isObject(entry)) throw new Error(`${where} is not an object.`);
  return newRegion(shapeFromJson(entry, where, canvas), {
    name: textIn(entry, 'name'),
    color: index % kRegionColors,
    prompt: textIn(entry, 'prompt'),
    negative: textIn(entry, 'negative_prompt'),
    weight: numberIn(entry, 'weight', 1),
    feather: numberIn(entry, 'feather', 0),
    start: numberIn(entry, 'start', 0),
    end: numberIn(entry, 'end', 1),
    rest: without(entry, kRegionKeys),
  });
}

function shapeFromJson(json: Json, where: string, canvas: { width: number; height: number }): Shape {
  if (json.background === true) return { kind: 'background' };
  if (typeof json.mask === 'string') return { kind: 'mask', file: json.mask, strokes: [] };
  if (Array.isArray(json.polygon)) {
    const corners = json.polygon.map((corner) => numbersOf(corner, 2, `A corner of ${where}`));
    if (corners.length < 3) throw new Error(`${where} has a polygon of fewer than three corners.`);
    const [sy, sx] = unitsOf(corners.flat(), canvas);
    return { kind: 'polygon', points: corners.map(([y, x]): Point => ({ x: x! * sx, y: y! * sy })) };
  }
  if (json.box !== undefined) {
    return { kind: 'box', box: boxFromJson(json.box, `The box of ${where}`, canvas) };
  }
  throw new Error(`${where} has no box, polygon, mask or background.`);
}

function conditionToJson(condition: Condition, scene: Scene): Json {
  const json: Json = { adapter: condition.adapter, picture: condition.picture };
  const region = scene.regions.find((other) => other.id === condition.region);
  if (region) {
    json.weight = 0;
    json.boxes = [{ box: boxToJson(boundsOf(region.shape, scene)), weight: condition.weight }];
  } else {
    put(json, 'weight', condition.weight, 1);
  }
  put(json, 'start', condition.start, 0);
  put(json, 'end', condition.end, 1);
  put(json, 'guess_mode', condition.guess, false);
  return { ...json, ...condition.rest };
}

/// A condition that holds in one box alone, a region's, belongs to that region.
function conditionFromJson(entry: unknown, scene: Scene): Condition {
  if (!isObject(entry)) throw new Error('A condition is not an object.');
  const condition: Condition = {
    id: newId(),
    adapter: textIn(entry, 'adapter'),
    picture: textIn(entry, 'picture'),
    weight: numberIn(entry, 'weight', 1),
    region: '',
    start: numberIn(entry, 'start', 0),
    end: numberIn(entry, 'end', 1),
    guess: entry.guess_mode === true,
    rest: without(entry, kConditionKeys),
  };
  const boxes = listIn(entry, 'boxes');
  const only = boxes[0];
  if (condition.weight !== 0 || boxes.length !== 1 || !isObject(only)) return condition;
  const box = boxFromJson(only.box, 'The box of a condition', scene);
  const owner = scene.regions.find((region) => sameBox(boundsOf(region.shape, scene), box));
  if (!owner) return condition;
  return {
    ...condition,
    region: owner.id,
    weight: numberIn(only, 'weight', 1),
    rest: without(condition.rest, ['boxes']),
  };
}

function boxToJson(box: Box): number[] {
  return [box.top, box.left, box.bottom, box.right].map(tidy);
}

function boxFromJson(value: unknown, what: string, canvas: { width: number; height: number }): Box {
  const numbers = numbersOf(value, 4, what);
  const [sy, sx] = unitsOf(numbers, canvas);
  const [top, left, bottom, right] = numbers as [number, number, number, number];
  const box = { top: top * sy, left: left * sx, bottom: bottom * sy, right: right * sx };
  const inside = box.top >= 0 && box.left >= 0 && box.bottom <= canvas.height && box.right <= canvas.width;
  if (!inside) throw new Error(`${what} reaches outside the canvas.`);
  if (box.top >= box.bottom || box.left >= box.right) throw new Error(`${what} has no area.`);
  return box;
}

/// Factors on numbers that are fractions of the canvas (all at most 1) or its pixels.
function unitsOf(numbers: number[], canvas: { width: number; height: number }): [number, number] {
  return numbers.every((number) => number <= 1) ? [canvas.height, canvas.width] : [1, 1];
}

function sameBox(a: Box, b: Box): boolean {
  const near = (x: number, y: number) => Math.abs(x - y) < 0.5;
  return near(a.top, b.top) && near(a.left, b.left) && near(a.bottom, b.bottom) && near(a.right, b.right);
}

/// Pixels to four decimals: what fractions of a canvas become stays what it was.
function tidy(value: number): number {
  return Math.round(value * 1e4) / 1e4;
}

function put(json: Json, key: string, value: unknown, usual: unknown) {
  if (value !== usual) json[key] = value;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textIn(json: Json, key: string, absent = ''): string {
  const value = json[key];
  if (value === undefined) return absent;
  if (typeof value !== 'string') throw new Error(`"${key}" is not a text.`);
  return value;
}

function numberIn(json: Json, key: string, absent: number): number {
  const value = json[key];
  if (value === undefined) return absent;
  if (typeof value !== 'number') throw new Error(`"${key}" is not a number.`);
  return value;
}

function listIn(json: Json, key: string): unknown[] {
  const value = json[key];
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new Error(`"${key}" is not a list.`);
  return value;
}

function numbersOf(value: unknown, count: number, what: string): number[] {
  const good =
    Array.isArray(value) && value.length === count && value.every((n) => typeof n === 'number');
  if (!good) throw new Error(`${what} is not ${count} numbers.`);
  return value as number[];
}

/// `json` but for these keys.
export function without(json: Json, keys: string[]): Json {
  return Object.fromEntries(Object.entries(json).filter(([key]) => !keys.includes(key)));
}
