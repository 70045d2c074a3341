import { getStroke } from 'perfect-freehand';

import { encodeGreyPng } from './png';
import type { Stroke } from './model';

/// Painted regions: strokes into coverage of the canvas.

/// The outline of a stroke, in pixels of the canvas.
export function outlineOf(stroke: Stroke): [number, number][] {
  if (stroke.kind === 'fill') return stroke.points.map(([x, y]) => [x, y]);
  return getStroke(stroke.points, {
    size: stroke.size,
    thinning: 0,
    smoothing: 0.5,
    streamline: 0.3,
    simulatePressure: false,
  }) as [number, number][];
}

type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

/// Paints strokes with `style`, erasing ones cut holes. `picture`, a mask that came as a file, lies
/// under them; its coverage is its alpha.
export function drawStrokes(
  context: Context,
  strokes: Stroke[],
  style: string,
  picture?: CanvasImageSource,
) {
  const { width, height } = context.canvas;
  context.globalCompositeOperation = 'source-over';
  if (picture) {
    context.drawImage(picture, 0, 0, width, height);
    context.globalCompositeOperation = 'source-in';
    context.fillStyle = style;
    context.fillRect(0, 0, width, height);
  }
  for (const stroke of strokes) {
    context.globalCompositeOperation = stroke.erase ? 'destination-out' : 'source-over';
    context.fillStyle = style;
    const outline = outlineOf(stroke);
    if (outline.length === 0) continue;
    context.beginPath();
    for (const [x, y] of outline) context.lineTo(x, y);
    context.closePath();
    context.fill();
  }
  context.globalCompositeOperation = 'source-over';
}

const kStripes = 48; ///< Across the longer side.

/// Shades what strokes leave out, with stripes so that it shows on any picture; without strokes nothing.
export function drawAround(context: CanvasRenderingContext2D, strokes: Stroke[], picture?: CanvasImageSource) {
  const { width, height } = context.canvas;
  context.clearRect(0, 0, width, height);
  if (strokes.length === 0 && !picture) return;
  context.fillStyle = '#000a';
  context.fillRect(0, 0, width, height);
  const gap = Math.max(width, height) / kStripes;
  context.strokeStyle = '#fff4';
  context.lineWidth = gap / 3;
  for (let x = -height; x < width; x += gap) {
    context.beginPath();
    context.moveTo(x, height);
    context.lineTo(x + height, 0);
    context.stroke();
  }
  const mask = new OffscreenCanvas(width, height);
  drawStrokes(mask.getContext('2d')!, strokes, '#fff', picture);
  context.globalCompositeOperation = 'destination-out';
  context.drawImage(mask, 0, 0);
  context.globalCompositeOperation = 'source-over';
}

/// The alpha of RGBA pixels.
export function alphaOf(rgba: Uint8ClampedArray): Uint8Array {
  const alpha = new Uint8Array(rgba.length / 4);
  for (let i = 0; i < alpha.length; ++i) alpha[i] = rgba[i * 4 + 3]!;
  return alpha;
}

/// A mask file of one channel, white where strokes are, as large as the canvas.
export async function maskPng(
  strokes: Stroke[],
  width: number,
  height: number,
  picture?: CanvasImageSource,
): Promise<Blob> {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', { willReadFrequently: true })!;
  drawStrokes(context, strokes, '#fff', picture);
  const grey = alphaOf(context.getImageData(0, 0, width, height).data);
  return new Blob([await encodeGreyPng(grey, width, height)], { type: 'image/png' });
}

/// A picture whose grey is coverage as one whose alpha is.
export async function greyToAlpha(picture: Blob): Promise<ImageBitmap> {
  const bitmap = await createImageBitmap(picture);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext('2d', { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, bitmap.width, bitmap.height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    pixels.data[i + 3] = pixels.data[i]!;
    pixels.data[i] = pixels.data[i + 1] = pixels.data[i + 2] = 255;
  }
  context.putImageData(pixels, 0, 0);
  return createImageBitmap(canvas);
}
