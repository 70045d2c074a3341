import type Konva from 'konva/lib/Core';
import { Circle } from 'konva/lib/shapes/Circle';
import { Line } from 'konva/lib/shapes/Line';
import { Rect } from 'konva/lib/shapes/Rect';

import { outlineOf } from '../scene/mask';
import {
  asMask, changeRegion, freeColor, kLeastSide, newRegion, onCanvas, withRegion,
  type Point, type Shape, type Stroke,
} from '../scene/model';
import { edit, scene, select, selectedRegion, setTool, view, type View } from './document';
import { faded, type Palette } from './palette';

/// What is being drawn and is not in the document yet: a box, a polygon, a stroke.

const kSnap = 8;
const kCloseDistance = 10; ///< Screen pixels to the first corner that close a polygon.

export class Drawing {
  private start: Point | null = null;
  private corners: Point[] = [];
  private stroke: Stroke | null = null;
  private readonly ghost: Line;
  private readonly ghostBox: Rect;
  private readonly cursor: Circle;
  private zoom = 1;

  constructor(
    private readonly stage: Konva.Stage,
    overlay: Konva.Layer,
    private readonly palette: () => Palette,
  ) {
    const style = { strokeWidth: 1.5, strokeScaleEnabled: false, listening: false, visible: false };
    this.ghost = new Line({ points: [], ...style });
    this.ghostBox = new Rect(style);
    this.cursor = new Circle({ ...style, strokeWidth: 1.25 });
    overlay.add(this.ghost, this.ghostBox, this.cursor);
  }

  setLook(look: View, zoom: number) {
    this.zoom = zoom;
    this.cursor.radius(look.brush / 2);
    if (look.tool !== 'brush' && look.tool !== 'eraser') this.cursor.visible(false);
    if (look.tool !== 'polygon' && this.corners.length > 0) this.cancel();
  }

  down(event: PointerEvent) {
    const place = this.place();
    const { tool, brush } = view.get();
    if (tool === 'box') this.start = this.snapped(place, event.altKey);
    if (tool === 'polygon') this.addCorner(place, event.altKey);
    if (tool === 'brush' || tool === 'eraser' || tool === 'lasso') {
      const kind = tool === 'lasso' ? 'fill' : 'brush';
      const erase = tool === 'eraser' || event.altKey;
      this.stroke = { kind, points: [], size: brush, erase };
      this.addPoint(event);
    }
  }

  move(event: PointerEvent) {
    const place = this.place();
    const { tool } = view.get();
    if (tool === 'brush' || tool === 'eraser') this.showCursor(place);
    if (this.start) this.showBox(this.start, this.snapped(place, event.altKey));
    if (this.corners.length > 0) this.showOutline([...this.corners, place], true);
    if (this.stroke) this.addPoint(event);
  }

  up() {
    if (this.start) this.finishBox();
    if (this.stroke) this.finishStroke();
  }

  leave() {
    this.cursor.visible(false);
  }

  /// Closes a polygon that is being drawn.
  finish() {
    if (view.get().tool !== 'polygon') return;
    const points = withoutTwins(this.corners);
    this.corners = [];
    this.ghost.visible(false);
    if (points.length >= 3) this.add({ kind: 'polygon', points });
  }

  /// Whether there was anything to give up.
  cancel(): boolean {
    const busy = !!this.start || !!this.stroke || this.corners.length > 0;
    this.start = null;
    this.stroke = null;
    this.corners = [];
    this.ghost.visible(false);
    this.ghostBox.visible(false);
    return busy;
  }

  /// The id of the painted region under the pointer.
  maskAt(): string | undefined {
    const { x, y } = this.place();
    const masks = scene().regions.filter((region) => region.visible && region.shape.kind === 'mask');
    return masks.find((region) => {
      const image = this.stage.findOne<Konva.Group>(`#${region.id}`)?.findOne('.body');
      const canvas = image?.getAttr('image') as HTMLCanvasElement | undefined;
      return (canvas?.getContext('2d')?.getImageData(x, y, 1, 1).data[3] ?? 0) > 0;
    })?.id;
  }

  private place(): Point {
    const place = this.stage.getRelativePointerPosition() ?? { x: 0, y: 0 };
    if (view.get().tool === 'brush' || view.get().tool === 'eraser') return place;
    return onCanvas(place, scene());
  }

  private snapped({ x, y }: Point, free: boolean): Point {
    const step = free ? 1 : kSnap;
    return onCanvas({ x: Math.round(x / step) * step, y: Math.round(y / step) * step }, scene());
  }

  private color(): string {
    const region = selectedRegion();
    const { tool } = view.get();
    const paints = tool === 'brush' || tool === 'eraser' || tool === 'lasso';
    const index = paints && region ? region.color : freeColor(scene().regions);
    return this.palette().regions[index % this.palette().regions.length]!;
  }

  private showBox(a: Point, b: Point) {
    this.ghostBox.setAttrs({
      x: Math.min(a.x, b.x), y: Math.min(a.y, b.y), width: Math.abs(a.x - b.x),
      height: Math.abs(a.y - b.y), visible: true, stroke: this.color(), fill: faded(this.color(), 0.2),
    });
  }

  private showOutline(points: Point[], open: boolean) {
    this.ghost.setAttrs({
      points: points.flatMap(({ x, y }) => [x, y]), visible: true, closed: !open, stroke: this.color(),
      fill: faded(this.color(), 0.2), dash: open ? [4, 4] : [],
    });
  }

  private showCursor({ x, y }: Point) {
    this.cursor.setAttrs({ x, y, visible: true, stroke: this.palette().ink });
  }

  private addCorner(place: Point, free: boolean) {
    const first = this.corners[0];
    const near = first && Math.hypot(place.x - first.x, place.y - first.y) * this.zoom < kCloseDistance;
    if (near && this.corners.length >= 3) return this.finish();
    this.corners = [...this.corners, this.snapped(place, free)];
    this.showOutline(this.corners, true);
  }

  private addPoint(event: PointerEvent) {
    const { x, y } = this.place();
    this.stroke!.points.push([round(x), round(y), event.pressure || 0.5]);
    const outline = outlineOf(this.stroke!).map(([px, py]) => ({ x: px, y: py }));
    this.showOutline(outline, false);
    if (this.stroke!.erase) this.ghost.fill(faded(this.palette().surface, 0.7));
  }

  private finishBox() {
    const [x, y] = [this.ghostBox.x(), this.ghostBox.y()];
    const [width, height] = [this.ghostBox.width(), this.ghostBox.height()];
    const drawn = this.ghostBox.visible();
    this.start = null;
    this.ghostBox.visible(false);
    if (!drawn || width < kLeastSide || height < kLeastSide) return;
    this.add({ kind: 'box', box: { top: y, left: x, bottom: y + height, right: x + width } });
  }

  /// Into the selected region, which becomes a painted one; into a new one where none is selected.
  private finishStroke() {
    const stroke = this.stroke!;
    this.stroke = null;
    this.ghost.visible(false);
    const region = selectedRegion();
    if (!region) {
      if (!stroke.erase) this.add({ kind: 'mask', file: '', strokes: [stroke] }, true);
      return;
    }
    const mask = asMask(region.shape);
    if (mask.kind !== 'mask') return;
    const shape: Shape = { ...mask, strokes: [...mask.strokes, stroke] };
    edit((old) => changeRegion(old, region.id, { shape }));
  }

  private add(shape: Shape, keepTool = false) {
    const region = newRegion(shape);
    edit((old) => withRegion(old, region));
    select(region.id);
    if (!keepTool) setTool('select');
  }
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function withoutTwins(points: Point[]): Point[] {
  return points.filter((point, at) => at === 0 || point.x !== points[at - 1]!.x || point.y !== points[at - 1]!.y);
}
