import Konva from 'konva/lib/Core';
import { Circle } from 'konva/lib/shapes/Circle';
import { Image as KonvaImage } from 'konva/lib/shapes/Image';
import { Line } from 'konva/lib/shapes/Line';
import { Rect } from 'konva/lib/shapes/Rect';
import { Text } from 'konva/lib/shapes/Text';

import { greyToAlpha, drawStrokes } from '../scene/mask';
import { boundsOf, regionTitle, type Region, type Scene, type Stroke } from '../scene/model';
import { fileUrl } from '../api/client';
import { faded, type Palette } from './palette';

/// Regions as nodes of the canvas.

export interface Look {
  palette: Palette;
  shade: 'fill' | 'outline' | 'none';
  selected: boolean;
  zoom: number; ///< Screen pixels for one of the canvas.
}

const kFill = 0.2;
const kFillSelected = 0.32;
const kMaskFill = 0.45;
const kTagHeight = 18;
const kTagWidth = 180;

export function regionNode(region: Region, index: number, scene: Scene, look: Look): Konva.Group {
  const color = look.palette.regions[region.color % look.palette.regions.length]!;
  const group = new Konva.Group({ id: region.id, name: 'region' });
  const style = {
    stroke: color,
    strokeWidth: look.selected ? 2 : 1.25,
    strokeScaleEnabled: false,
    fill: look.shade === 'fill' ? faded(color, look.selected ? kFillSelected : kFill) : undefined,
    hitStrokeWidth: 12 / look.zoom,
    name: 'body',
  };
  const { shape } = region;
  if (shape.kind === 'box') {
    const { top, left, bottom, right } = shape.box;
    group.add(new Rect({ x: left, y: top, width: right - left, height: bottom - top, ...style }));
  } else if (shape.kind === 'polygon') {
    group.add(new Line({ points: shape.points.flatMap(({ x, y }) => [x, y]), closed: true, ...style }));
  } else if (shape.kind === 'mask') {
    group.add(...maskNodes(shape.file, shape.strokes, scene, color, look));
  } else {
    group.add(backgroundNode(scene, color, look));
  }
  if (look.shade !== 'none') group.add(...tagNodes(region, index, scene, color, look));
  return group;
}

/// What is painted, and a line around it: over a picture of its own colours the tint alone is hard to see.
function maskNodes(file: string, strokes: Stroke[], scene: Scene, color: string, look: Look) {
  const painted = paperOf(scene);
  drawStrokes(painted.getContext('2d')!, strokes, color, file ? pictureOf(file) : undefined);
  const node = (image: HTMLCanvasElement, opacity: number, name: string) =>
    new KonvaImage({ image, width: scene.width, height: scene.height, opacity, listening: false, name });
  const opacity = look.shade === 'none' ? 0 : look.shade === 'outline' ? 0.18 : kMaskFill + (look.selected ? 0.1 : 0);
  const body = node(painted, opacity, 'body');
  return look.shade === 'none' ? [body] : [body, node(outlineOf(painted, (look.selected ? 2 : 1.25) / look.zoom), 1, 'outline')];
}

function paperOf({ width, height }: { width: number; height: number }): HTMLCanvasElement {
  const paper = document.createElement('canvas');
  paper.width = width;
  paper.height = height;
  return paper;
}

const kSides = 16;

/// The rim of what is painted, `wide` pixels outwards: it widened, without itself.
function outlineOf(painted: HTMLCanvasElement, wide: number): HTMLCanvasElement {
  const rim = paperOf(painted);
  const context = rim.getContext('2d')!;
  const reach = Math.max(1, wide);
  for (let side = 0; side < kSides; ++side) {
    const angle = (2 * Math.PI * side) / kSides;
    context.drawImage(painted, reach * Math.cos(angle), reach * Math.sin(angle));
  }
  context.globalCompositeOperation = 'destination-out';
  context.drawImage(painted, 0, 0);
  return rim;
}

/// A quiet frame: the background is what no other region covers.
function backgroundNode(scene: Scene, color: string, look: Look) {
  const inset = 3 / look.zoom;
  return new Rect({
    x: inset, y: inset, width: scene.width - 2 * inset, height: scene.height - 2 * inset,
    stroke: color, strokeWidth: look.selected ? 2 : 1, strokeScaleEnabled: false, dash: [2, 5],
    listening: false, name: 'body',
  });
}

/// The name of a region at its upper left, of the same size at any zoom.
function tagNodes(region: Region, index: number, scene: Scene, color: string, look: Look) {
  const bounds = boundsOf(region.shape, scene);
  const scale = 1 / look.zoom;
  const text = new Text({
    text: regionTitle(region, index), fontSize: 11.5, fontStyle: '600', fontFamily: 'system-ui, sans-serif',
    fill: look.palette.surface, padding: 4, ellipsis: true, wrap: 'none', height: kTagHeight + 2,
  });
  const most = Math.min(kTagWidth, Math.max(24, (bounds.right - bounds.left) * look.zoom - 8));
  if (text.width() > most) text.width(most);
  const place = { x: bounds.left + 3 * scale, y: bounds.top + 3 * scale, scaleX: scale, scaleY: scale };
  const plate = new Rect({
    ...place, width: text.width(), height: kTagHeight, cornerRadius: 4, fill: color, listening: false,
  });
  text.setAttrs({ ...place, listening: false });
  return [plate, text];
}

export function cornerNodes(points: { x: number; y: number }[], color: string, look: Look): Circle[] {
  return points.map(
    ({ x, y }, index) =>
      new Circle({
        x, y, radius: 5.5 / look.zoom, fill: look.palette.surface, stroke: color, strokeWidth: 2,
        strokeScaleEnabled: false, draggable: true, name: 'corner', id: String(index),
        hitStrokeWidth: 14 / look.zoom,
      }),
  );
}

const kPictures = new Map<string, ImageBitmap | 'loading'>();
const kWaiting = new Set<() => void>();

/// A mask of the server as coverage, once it has come; `whenMaskComes` tells when that is.
export function pictureOf(path: string): ImageBitmap | undefined {
  const known = kPictures.get(path);
  if (known) return known === 'loading' ? undefined : known;
  kPictures.set(path, 'loading');
  void fetch(fileUrl(path))
    .then(async (response) => {
      if (!response.ok) return;
      kPictures.set(path, await greyToAlpha(await response.blob()));
      for (const redraw of kWaiting) redraw();
    })
    .catch(() => kPictures.delete(path));
  return undefined;
}

export function whenMaskComes(redraw: () => void): () => void {
  kWaiting.add(redraw);
  return () => kWaiting.delete(redraw);
}
