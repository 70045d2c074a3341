import Konva from 'konva/lib/Core';
import { Circle } from 'konva/lib/shapes/Circle';
import { Image as KonvaImage } from 'konva/lib/shapes/Image';
import { Line } from 'konva/lib/shapes/Line';
import { Rect } from 'konva/lib/shapes/Rect';
import { Transformer } from 'konva/lib/shapes/Transformer';

import { cutBox, kLeastSide, onCanvas, shifted, type Scene } from '../scene/model';
import { editRegion, history, scene, select, shown, view } from './document';
import { Drawing } from './drawing';
import { readPalette, type Palette } from './palette';
import { cornerNodes, regionNode, whenMaskComes, type Look } from './shapes';

/// The canvas: draws the document, and turns what the pointer does into changes of it.

const kSnap = 8; ///< Pixels: one position of the network's finest layers.
const kMargin = 36;
const kTopMargin = 60; ///< With room for what can be done with the selected region.
const kZoomStep = 1.12;
const kMostZoom = 24;

export class Stage {
  private readonly stage: Konva.Stage;
  private readonly paper = new Konva.Layer({ listening: false });
  private readonly regions = new Konva.Layer();
  private readonly overlay = new Konva.Layer();
  private readonly transformer: Transformer;
  private readonly drawing: Drawing;
  private readonly observer: ResizeObserver;
  private readonly unwatch: (() => void)[] = [];
  private palette: Palette = readPalette();
  private picture: HTMLImageElement | null = null;
  private fitted = true;
  private drawnSize = '';
  private pan: { x: number; y: number } | null = null;

  constructor(private readonly container: HTMLDivElement) {
    this.stage = new Konva.Stage({ container, width: 10, height: 10 });
    this.stage.add(this.paper, this.regions, this.overlay);
    this.transformer = this.newTransformer();
    this.drawing = new Drawing(this.stage, this.overlay, () => this.palette);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(container);
    this.listen();
    for (const store of [history, view]) this.unwatch.push(store.watch(() => this.draw()));
    this.unwatch.push(shown.watch(() => this.loadPicture()), whenMaskComes(() => this.draw()));
    const dark = window.matchMedia('(prefers-color-scheme: dark)');
    const recolor = () => this.recolor();
    dark.addEventListener('change', recolor);
    const themes = new MutationObserver(recolor);
    themes.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });
    this.unwatch.push(() => dark.removeEventListener('change', recolor), () => themes.disconnect());
    this.loadPicture();
  }

  close() {
    this.observer.disconnect();
    for (const stop of this.unwatch) stop();
    this.stage.destroy();
  }

  /// The whole canvas in the middle.
  fit() {
    this.fitted = true;
    const { width, height } = scene();
    const room = { width: this.stage.width() - 2 * kMargin, height: this.stage.height() - kMargin - kTopMargin };
    const zoom = Math.max(0.02, Math.min(room.width / width, room.height / height));
    this.stage.scale({ x: zoom, y: zoom });
    this.stage.position({
      x: (this.stage.width() - width * zoom) / 2,
      y: kTopMargin + (room.height - height * zoom) / 2,
    });
    this.draw();
  }

  zoomBy(factor: number, at = { x: this.stage.width() / 2, y: this.stage.height() / 2 }) {
    this.fitted = false;
    const before = this.stage.scaleX();
    const zoom = Math.min(kMostZoom, Math.max(0.05, before * factor));
    const position = this.stage.position();
    this.stage.scale({ x: zoom, y: zoom });
    this.stage.position({
      x: at.x - ((at.x - position.x) * zoom) / before,
      y: at.y - ((at.y - position.y) * zoom) / before,
    });
    this.draw();
  }

  /// Ends what is half drawn, such as a polygon.
  finishDrawing() {
    this.drawing.finish();
  }

  cancelDrawing(): boolean {
    return this.drawing.cancel();
  }

  private recolor() {
    this.palette = readPalette();
    this.draw();
  }

  private resize() {
    this.stage.size({ width: this.container.clientWidth, height: this.container.clientHeight });
    if (this.fitted) this.fit();
    else this.draw();
  }

  private loadPicture() {
    const now = shown.get();
    if (!now) {
      this.picture = null;
      return this.draw();
    }
    const picture = new Image();
    picture.onload = () => {
      if (shown.get()?.url !== now.url) return;
      this.picture = picture;
      this.draw();
    };
    picture.src = now.url;
  }

  private draw() {
    const now = scene();
    const size = `${now.width}×${now.height}`;
    if (size !== this.drawnSize) {
      this.drawnSize = size;
      if (this.fitted) return this.fit();
    }
    this.drawPaper(now);
    this.drawRegions(now);
    this.drawing.setLook(view.get(), this.stage.scaleX());
    const { tool } = view.get();
    this.container.style.cursor =
      tool === 'select' ? '' : tool === 'brush' || tool === 'eraser' ? 'none' : 'crosshair';
  }

  private drawPaper(now: Scene) {
    this.paper.destroyChildren();
    const frame = { x: 0, y: 0, width: now.width, height: now.height };
    const zoom = this.stage.scaleX();
    this.paper.add(
      new Rect({
        ...frame, fill: this.palette.surface, shadowColor: '#000', shadowBlur: 24 / zoom, shadowOpacity: 0.16,
        shadowOffsetY: 4 / zoom, shadowForStrokeEnabled: false,
      }),
    );
    if (this.picture) this.paper.add(new KonvaImage({ ...frame, image: this.picture }));
    else this.paper.add(...this.gridLines(now));
  }

  /// Thirds of the canvas: enough to place things by, quiet enough to stay out of sight.
  private gridLines(now: Scene): Line[] {
    const style = { stroke: this.palette.line, strokeWidth: 1, strokeScaleEnabled: false };
    return [1 / 3, 2 / 3].flatMap((share) => [
      new Line({ points: [now.width * share, 0, now.width * share, now.height], ...style }),
      new Line({ points: [0, now.height * share, now.width, now.height * share], ...style }),
    ]);
  }

  private drawRegions(now: Scene) {
    const { selected, tool, shade, isolate } = view.get();
    this.transformer.nodes([]);
    this.transformer.remove(); // or it would be destroyed with the regions
    this.regions.destroyChildren();
    const shownRegions = now.regions
      .map((region, index) => ({ region, index }))
      .filter(({ region }) => region.visible && (!isolate || region.id === selected));
    for (const { region, index } of shownRegions.reverse()) {
      const look = this.look(region.id === selected, shade);
      const node = regionNode(region, index, now, look);
      node.draggable(tool === 'select' && ['box', 'polygon'].includes(region.shape.kind));
      node.listening(tool === 'select');
      node.dragBoundFunc((place) => this.dragged(region.id, node, place));
      node.on('dragend', () => this.moved(region.id, node));
      this.regions.add(node);
      if (region.id === selected && tool === 'select') this.addHandles(region.id, node, look);
    }
  }

  private look(selected: boolean, shade: Look['shade']): Look {
    return { palette: this.palette, shade, selected, zoom: this.stage.scaleX() };
  }

  private addHandles(id: string, node: Konva.Group, look: Look) {
    const region = scene().regions.find((other) => other.id === id);
    if (region?.shape.kind === 'box') {
      const body = node.findOne('.body');
      if (body) this.transformer.nodes([body]);
      body?.on('transform', () => this.resizing(body as Rect));
      body?.on('transformend', () => this.resizedBox(id, body as Rect));
      this.regions.add(this.transformer);
    }
    if (region?.shape.kind === 'polygon') this.addCorners(id, region.shape.points, region.color, look);
  }

  private addCorners(id: string, points: { x: number; y: number }[], color: number, look: Look) {
    for (const corner of cornerNodes(points, look.palette.regions[color % 8]!, look)) {
      const index = Number(corner.id());
      corner.on('dragmove', () => {
        corner.position(onCanvas(corner.position(), scene()));
        const moved = points.map((point, at) => (at === index ? corner.position() : point));
        const body = this.regions.findOne<Konva.Group>(`#${id}`)?.findOne<Line>('.body');
        body?.points(moved.flatMap(({ x, y }) => [x, y]));
      });
      corner.on('dragend', (event) => {
        const free = event.evt.altKey;
        const place = corner.position();
        const snapped = onCanvas(free ? place : { x: snap(place.x), y: snap(place.y) }, scene());
        editRegion(id, {
          shape: { kind: 'polygon', points: points.map((point, at) => (at === index ? snapped : point)) },
        });
      });
      corner.on('dblclick', () => {
        if (points.length <= 3) return;
        editRegion(id, { shape: { kind: 'polygon', points: points.filter((_, at) => at !== index) } });
      });
      this.regions.add(corner);
    }
  }

  /// Where a dragged region may be, on the screen: inside the canvas, in steps of the grid.
  private dragged(id: string, node: Konva.Group, place: { x: number; y: number }) {
    const region = scene().regions.find((other) => other.id === id);
    if (!region) return node.absolutePosition();
    const zoom = this.stage.scaleX();
    const origin = this.stage.position();
    const dx = snap((place.x - origin.x) / zoom);
    const dy = snap((place.y - origin.y) / zoom);
    const before = firstCorner(region.shape);
    const after = firstCorner(shifted(region.shape, dx, dy, scene()));
    return { x: origin.x + (after.x - before.x) * zoom, y: origin.y + (after.y - before.y) * zoom };
  }

  private moved(id: string, node: Konva.Group) {
    const { x, y } = node.position();
    const region = scene().regions.find((other) => other.id === id);
    if (!region || (x === 0 && y === 0)) return;
    editRegion(id, { shape: shifted(region.shape, Math.round(x), Math.round(y), scene()) });
  }

  private resizing(body: Rect) {
    body.setAttrs({
      width: Math.max(kLeastSide, body.width() * body.scaleX()),
      height: Math.max(kLeastSide, body.height() * body.scaleY()),
      scaleX: 1,
      scaleY: 1,
    });
  }

  private resizedBox(id: string, body: Rect) {
    const box = cutBox(
      { left: snap(body.x()), top: snap(body.y()), right: snap(body.x() + body.width()), bottom: snap(body.y() + body.height()) },
      scene(),
    );
    editRegion(id, { shape: { kind: 'box', box } });
  }

  /// What a corner is pulled to, in pixels of the screen, as far as it lies on the canvas.
  private cutOnScreen<Place extends { x: number; y: number; width: number; height: number }>(place: Place): Place {
    const origin = this.stage.position();
    const zoom = this.stage.scaleX();
    const size = { width: scene().width * zoom, height: scene().height * zoom };
    const near = onCanvas({ x: place.x - origin.x, y: place.y - origin.y }, size);
    const far = onCanvas({ x: place.x + place.width - origin.x, y: place.y + place.height - origin.y }, size);
    return { ...place, x: origin.x + near.x, y: origin.y + near.y, width: far.x - near.x, height: far.y - near.y };
  }

  private newTransformer(): Transformer {
    return new Transformer({
      rotateEnabled: false, keepRatio: false, flipEnabled: false, ignoreStroke: true, anchorSize: 9,
      anchorCornerRadius: 2.5, borderEnabled: false, boundBoxFunc: (_, next) => this.cutOnScreen(next),
      anchorStyleFunc: (anchor: Rect) => {
        anchor.fill(this.palette.surface);
        anchor.stroke(this.palette.ink);
        anchor.strokeWidth(1.25);
      },
    });
  }

  private listen() {
    const stage = this.stage;
    stage.on('pointerdown', (event) => {
      if (event.evt.button === 1) this.beginPan(event.evt);
      else if (view.get().tool !== 'select') this.beginDrawing(event.evt);
      else this.pick(event.target);
    });
    stage.on('pointermove', (event) => {
      if (this.pan) this.movePan(event.evt);
      else this.drawing.move(event.evt);
    });
    stage.on('pointerup', () => {
      this.pan = null;
      this.drawing.up();
    });
    stage.on('pointercancel', () => this.drawing.cancel());
    stage.on('pointerleave', () => this.drawing.leave());
    stage.on('dblclick', () => this.drawing.finish());
    stage.on('wheel', (event) => {
      event.evt.preventDefault();
      const at = stage.getPointerPosition() ?? undefined;
      if (event.evt.ctrlKey || event.evt.metaKey) {
        this.zoomBy(event.evt.deltaY < 0 ? kZoomStep : 1 / kZoomStep, at);
      } else {
        this.fitted = false;
        stage.position({ x: stage.x() - event.evt.deltaX, y: stage.y() - event.evt.deltaY });
      }
    });
  }

  /// What is drawn goes on, and ends, where the pointer leaves the canvas: over a panel, or the window's edge.
  private beginDrawing(event: PointerEvent) {
    (event.target as Element).setPointerCapture(event.pointerId);
    this.drawing.down(event);
  }

  private pick(target: Konva.Node) {
    const corner = target instanceof Circle || target.getParent() instanceof Transformer;
    if (corner) return;
    const region = target.findAncestor('.region', true);
    select(region ? region.id() : (this.drawing.maskAt() ?? ''));
    // Selecting draws new nodes; the press that follows shall find them, so that it can drag.
    this.regions.draw();
  }

  private beginPan(event: PointerEvent) {
    event.preventDefault();
    this.pan = { x: event.clientX - this.stage.x(), y: event.clientY - this.stage.y() };
  }

  private movePan(event: PointerEvent) {
    if (!this.pan) return;
    this.fitted = false;
    this.stage.position({ x: event.clientX - this.pan.x, y: event.clientY - this.pan.y });
  }
}

function snap(value: number): number {
  return Math.round(value / kSnap) * kSnap;
}

function firstCorner(shape: Scene['regions'][number]['shape']): { x: number; y: number } {
  if (shape.kind === 'box') return { x: shape.box.left, y: shape.box.top };
  if (shape.kind === 'polygon') return shape.points[0] ?? { x: 0, y: 0 };
  return { x: 0, y: 0 };
}
