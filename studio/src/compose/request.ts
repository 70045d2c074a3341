import { api, fileUrl } from '../api/client';
import type { JobRequest, Options } from '../api/types';
import { sceneToJson } from '../scene/json';
import { greyToAlpha, maskPng } from '../scene/mask';
import { regionTitle, type Region, type Scene, type Shape } from '../scene/model';
import { calledFiles, type KnownConcept } from '../scene/words';
import { paintingDefaults } from '../state';
import type { Settings } from './document';

/// The job that paints a scene.

/// Options of a sampling job that Compose says itself, by its scene and its buttons.
export const kOwnedOptions = [
  'config', 'dry_run', 'list_schedulers', 'list_keys', 'prompt', 'negative_prompt', 'concept', 'scene',
  'regions', 'out', 'from', 'grid', 'base', 'height', 'width', 'seed', 'redo_region', 'region_mask', 'preview', 'columns',
  'adapter', 'condition', 'adapter_weight', 'adapter_boxes', 'adapter_start', 'adapter_end',
  'guess_mode', 'rerun',
];
export const kFirstOptions = ['steps', 'guidance_scale', 'scheduler', 'count', 'hires'];

const kMostSeed = 2 ** 31;
const kPreviewSteps = 3;

/// Paths of masks that the server has, by the shape that they were painted from.
const kUploaded = new WeakMap<Shape, string>();

async function uploadMask(region: Region, scene: Scene): Promise<string> {
  const { shape } = region;
  if (shape.kind !== 'mask') return '';
  if (shape.strokes.length === 0) return shape.file;
  const known = kUploaded.get(shape);
  if (known) return known;
  const under = shape.file ? await fetch(fileUrl(shape.file)).then((answer) => answer.blob()) : undefined;
  const picture = under && (await greyToAlpha(under));
  const png = await maskPng(shape.strokes, scene.width, scene.height, picture);
  const name = `mask-${region.name.replace(/[^\w-]+/g, '-') || region.id}.png`;
  const { path } = await api.upload(name, png);
  kUploaded.set(shape, path);
  return path;
}

/// The file of a scene, with its painted masks sent to the server.
export async function sceneFile(scene: Scene): Promise<Record<string, unknown>> {
  const paths = new Map<string, string>();
  for (const region of scene.regions) {
    if (region.visible && region.shape.kind === 'mask') {
      paths.set(region.id, await uploadMask(region, scene));
    }
  }
  return sceneToJson(scene, (region) => paths.get(region.id) ?? '');
}

export function titleOf(scene: Scene): string {
  const names = scene.regions
    .map((region, index) => ({ region, title: regionTitle(region, index) }))
    .filter(({ region }) => region.visible && region.name)
    .map(({ title }) => title);
  const words = (scene.prompt || scene.regions[0]?.prompt || 'a picture').split(/\s+/).slice(0, 6).join(' ');
  return names.length > 0 ? `${names.slice(0, 3).join(', ')}: ${words}` : words;
}

export function newSeed(): number {
  return Math.floor(Math.random() * kMostSeed);
}

/// `again` asks for one region of a picture that is there.
export async function paintRequest(
  scene: Scene,
  settings: Settings,
  known: KnownConcept[],
  again?: { path: string; region: Region },
): Promise<JobRequest> {
  const concept = calledFiles(scene, known).map(({ path }) => {
    const scale = settings.scales[path];
    return scale === undefined || scale === 1 ? path : `${path}=${scale}`;
  });
  const options: Options = { ...paintingDefaults(settings.base), ...settings.options, preview: kPreviewSteps };
  if (settings.base) options.base = settings.base;
  if (concept.length > 0) options.concept = concept;
  if (settings.randomSeed || options.seed === undefined) options.seed = newSeed();
  const request: JobRequest = {
    kind: 'sample', options, scene: await sceneFile(scene), title: titleOf(scene),
  };
  if (again) {
    const visible = scene.regions.filter((region) => region.visible);
    options.from = again.path;
    options.redo_region = again.region.name || String(visible.indexOf(again.region) + 1);
    // Of a whole picture; beside a part of one they are refused.
    for (const name of ['count', 'hires', 'hires_strength', 'hires_upscale', 'init', 'mask', 'grow']) delete options[name];
    request.title = `${regionTitle(again.region, scene.regions.indexOf(again.region))} again`;
  }
  return request;
}
