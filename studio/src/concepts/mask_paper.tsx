import { useEffect, useRef, useState } from 'preact/hooks';

import { fileUrl } from '../api/client';
import type { ConceptPicture } from '../api/types';
import { drawAround } from '../scene/mask';
import type { Stroke } from '../scene/model';

/// A picture and a brush over it, for pointers and for keys.

type Point = Stroke['points'][number];

const kPressure = 0.5;
const kArrows: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
};

interface PaperProps {
  picture: ConceptPicture;
  strokes: Stroke[];
  under: ImageBitmap | undefined; ///< The mask that it has.
  size: number;
  erases: boolean;
  help: string; ///< The id of what explains it.
  onStroke: (stroke: Stroke) => void;
}

export function MaskPaper({ picture, strokes, under, size, erases, help, onStroke }: PaperProps) {
  const { width, height } = picture;
  const canvas = useRef<HTMLCanvasElement>(null);
  const [current, setCurrent] = useState<Stroke | null>(null);
  const [brush, setBrush] = useState<Point | null>(null);
  useEffect(() => {
    drawAround(canvas.current!.getContext('2d')!, current ? [...strokes, current] : strokes, under);
  }, [strokes, current, under]);
  const begin = (at: Point, erase: boolean) => {
    setBrush(at);
    setCurrent({ kind: 'brush', points: [at], size, erase });
  };
  const moveTo = (at: Point) => {
    setBrush(at);
    if (current) setCurrent({ ...current, points: [...current.points, at] });
  };
  const lift = () => {
    if (current) onStroke(current);
    setCurrent(null);
  };
  const pointOf = (event: PointerEvent): Point => {
    const box = canvas.current!.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * width;
    const y = ((event.clientY - box.top) / box.height) * height;
    return [x, y, event.pressure || kPressure];
  };
  const down = (event: PointerEvent) => {
    canvas.current!.setPointerCapture(event.pointerId);
    begin(pointOf(event), erases || event.altKey);
  };
  const key = (event: KeyboardEvent) => {
    const at: Point = brush ?? [width / 2, height / 2, kPressure];
    const arrow = kArrows[event.key];
    if (!arrow && event.key !== ' ') return;
    event.preventDefault();
    if (arrow) return moveTo(moved(at, arrow, event.shiftKey ? 1 : Math.max(1, size / 2), picture));
    if (current) lift();
    else begin(at, erases);
  };
  return (
    <div class="mask-paper" style={{ '--ratio': width / height }}>
      <img src={fileUrl(picture.file)} alt={picture.caption || picture.name} />
      <canvas
        ref={canvas} width={width} height={height} tabIndex={0} role="img" aria-label="Mask" aria-describedby={help}
        onPointerDown={down} onPointerMove={(event) => moveTo(pointOf(event))} onPointerUp={lift} onPointerCancel={lift}
        onPointerLeave={() => setBrush(null)} onKeyDown={key} onBlur={lift}
      />
      {brush && <span class="brush-ring" aria-hidden="true" style={ringAt(brush, size, picture)} />}
    </div>
  );
}

function moved([x, y]: Point, [right, down]: [number, number], by: number, { width, height }: ConceptPicture): Point {
  const within = (value: number, most: number) => Math.min(most, Math.max(0, value));
  return [within(x + right * by, width), within(y + down * by, height), kPressure];
}

function ringAt([x, y]: Point, size: number, { width, height }: ConceptPicture) {
  return { left: `${(x / width) * 100}%`, top: `${(y / height) * 100}%`, width: `${(size / width) * 100}%` };
}
