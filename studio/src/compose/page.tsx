import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';

import type { Model } from '../api/types';
import { droppedFiles } from '../concepts/dropped';
import { moveRegion, newRegion, shifted, withoutRegion, withRegion } from '../scene/model';
import { knownConcepts } from '../scene/words';
import { go, route } from '../route';
import { conceptFiles, models } from '../state';
import { useStore } from '../store';
import { percent } from '../ui/format';
import type { IconName } from '../ui/icons';
import { IconButton, Segments } from '../ui/kit';
import { isDialogOpen, isTyping } from '../ui/keys';
import {
  edit, editRegion, history, redo, scene, select, selectedRegion, setTool, settings, takeUp,
  undo, view, type Tool, type View,
} from './document';
import { FileMenu, openFiles, openProject } from './files';
import { Inspector } from './inspector';
import { addMask, Layers } from './layers';
import { chooseModel, PaintBar, PaintPanel, RedoButton } from './paint';
import { followResults, Results } from './results';
import { Stage } from './stage';

export function ComposePage() {
  const files = useStore(conceptFiles);
  const list = useStore(models);
  const { base, preferred } = useStore(settings);
  const stage = useRef<Stage | null>(null);
  const [dropping, setDropping] = useState(false);
  takeUp();
  followResults();
  const known = useMemo(
    () => knownConcepts(files, list.find((model) => model.path === base), preferred),
    [files, list, base, preferred],
  );
  const { rest } = useStore(route);
  useEffect(() => takeFirstModel(list), [list]);
  useEffect(() => openAddressed(rest), [rest]);
  useLayoutEffect(() => listenToKeys(stage), []);
  const drop = (event: DragEvent) => {
    setDropping(false);
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    void droppedFiles(event.dataTransfer).then(openFiles);
  };
  return (
    <div
      class={`compose ${dropping ? 'dropping' : ''}`}
      onDragOver={(event) => {
        if (!event.dataTransfer?.types.includes('Files')) return;
        event.preventDefault();
        setDropping(true);
      }}
      onDragLeave={() => setDropping(false)} onDrop={drop}
    >
      <h1 class="hidden-name">Compose</h1>
      <Layers known={known} />
      <div class="middle">
        <Toolbar stage={stage} />
        <div class="canvas-box">
          <Canvas stage={stage} />
          <SelectionBar known={known} />
        </div>
        <Results />
      </div>
      <aside class="inspector" aria-label="What is selected">
        <div class="inspector-scroll">
          <Inspector known={known} />
          <PaintPanel known={known} />
        </div>
        <PaintBar known={known} />
      </aside>
    </div>
  );
}

/// #/compose/12 opens project 12, once: a reload keeps what was changed since.
function openAddressed(rest: string) {
  const id = Number(rest);
  if (!rest || !Number.isInteger(id)) return;
  void openProject(id).then(() => go('compose'));
}

/// A model that is there.
function takeFirstModel(list: Model[]) {
  const usable = list.filter((model) => model.kind !== 'adapter');
  const current = settings.get().base;
  if (usable.length === 0 || usable.some((model) => model.path === current)) return;
  const first = usable[0]!;
  chooseModel(first, list);
}

function Canvas({ stage }: { stage: { current: Stage | null } }) {
  const container = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const made = new Stage(container.current!);
    stage.current = made;
    return () => {
      made.close();
      stage.current = null;
    };
  }, []);
  return (
    <div
      class="canvas" ref={container} tabIndex={0} role="application" data-canvas
      aria-label="Canvas. Arrow keys move the selected region, with Shift they resize it, Delete removes it."
    />
  );
}

const kTools: { tool: Tool; icon: IconName; label: string; keys: string }[] = [
  { tool: 'select', icon: 'select', label: 'Select and move', keys: 'V' },
  { tool: 'box', icon: 'box', label: 'Draw a box', keys: 'B' },
  { tool: 'polygon', icon: 'polygon', label: 'Draw a polygon: click its corners, Enter closes it', keys: 'P' },
  { tool: 'brush', icon: 'brush', label: 'Paint the region', keys: 'M' },
  { tool: 'lasso', icon: 'lasso', label: 'Fill what is circled', keys: 'L' },
  { tool: 'eraser', icon: 'eraser', label: 'Erase from the region', keys: 'E' },
];

function Toolbar({ stage }: { stage: { current: Stage | null } }) {
  const look = useStore(view);
  const { past, future, present } = useStore(history);
  const paints = look.tool === 'brush' || look.tool === 'eraser';
  return (
    <div class={paints ? 'toolbar paints' : 'toolbar'} role="toolbar" aria-label="Tools">
      <FileMenu />
      <i class="divider" />
      {kTools.map(({ tool, icon, label, keys }) => (
        <IconButton key={tool} icon={icon} label={label} keys={keys} pressed={look.tool === tool} onClick={() => setTool(tool)} />
      ))}
      {paints && (
        <label class="brush-size">
          <span class="hidden-name">Brush size in pixels</span>
          <input
            type="range" min={2} max={Math.max(64, Math.round(present.width / 3))} value={look.brush} title="Brush size ([ and ])"
            onInput={(event) => view.set((old) => ({ ...old, brush: event.currentTarget.valueAsNumber }))}
          />
          <span class="mono">{look.brush}</span>
        </label>
      )}
      <i class="divider" />
      <IconButton icon="undo" label="Undo" keys="Ctrl Z" disabled={past.length === 0} onClick={undo} />
      <IconButton icon="redo" label="Redo" keys="Ctrl Shift Z" disabled={future.length === 0} onClick={redo} />
      <span class="grow" />
      {!paints && <span class="faint mono canvas-size">{present.width} × {present.height}</span>}
      <Segments
        label="Regions over the picture" value={look.shade} choices={kShades}
        onChange={(shade) => view.set((old) => ({ ...old, shade }))}
      />
      <IconButton icon="fit" label="Whole canvas" keys="0" onClick={() => stage.current?.fit()} />
    </div>
  );
}

const kShades: { value: View['shade']; label: string }[] = [
  { value: 'fill', label: 'Filled' }, { value: 'outline', label: 'Lines' }, { value: 'none', label: 'Hidden' },
];

/// What can be done with the selected region, near the picture.
function SelectionBar({ known }: { known: Parameters<typeof RedoButton>[0]['known'] }) {
  const look = useStore(view);
  const now = useStore(history, (value) => value.present);
  const region = now.regions.find((other) => other.id === look.selected);
  if (!region) return null;
  return (
    <div class="selection-bar">
      <IconButton
        icon="eye" pressed={look.isolate} label="Show only this region"
        onClick={() => view.set((old) => ({ ...old, isolate: !old.isolate }))}
      />
      <span class="soft">strength {percent(region.weight)}</span>
      <RedoButton region={region} known={known} />
    </div>
  );
}

const kStep = 8;

function listenToKeys(stage: { current: Stage | null }) {
  const onKey = (event: KeyboardEvent) => {
    const key = event.key.toLowerCase();
    const command = event.ctrlKey || event.metaKey;
    if (isDialogOpen()) {
      if (command && key === 's') event.preventDefault(); // the browser would save its page
      return;
    }
    if (command && key === 'enter') return press('[data-paint]', event);
    if (command && key === 's') return press('[data-save]', event);
    if (isTyping(event)) return;
    if (command && (key === 'y' || (key === 'z' && event.shiftKey))) return handled(event, redo);
    if (command && key === 'z') return handled(event, undo);
    if (command && key === 'd') return handled(event, duplicateSelected);
    if (command || event.altKey) return;
    const tool = kTools.find(({ keys }) => keys.toLowerCase() === key);
    if (tool) {
      const needsMask = tool.tool === 'brush' && !selectedRegion();
      return handled(event, () => (needsMask ? addMask() : setTool(tool.tool)));
    }
    if (key === '0') return handled(event, () => stage.current?.fit());
    if (key === '+' || key === '-') return handled(event, () => stage.current?.zoomBy(key === '+' ? 1.25 : 0.8));
    if (key === '[' || key === ']') {
      const factor = key === '[' ? 0.8 : 1.25;
      return handled(event, () =>
        view.set((old) => ({ ...old, brush: Math.min(512, Math.max(2, Math.round(old.brush * factor))) })),
      );
    }
    if (key === 'enter') stage.current?.finishDrawing();
    if (key === 'escape') {
      if (!stage.current?.cancelDrawing()) setTool('select');
    }
    const onCanvas = (event.target as HTMLElement | null)?.closest('[data-canvas], body') && !(event.target as HTMLElement).closest('button');
    if (onCanvas) regionKey(event);
  };
  window.addEventListener('keydown', onKey);
  return () => window.removeEventListener('keydown', onKey);
}

const kArrows: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
};

function regionKey(event: KeyboardEvent) {
  const region = selectedRegion();
  if (!region) return;
  if (event.key === 'Delete' || event.key === 'Backspace') {
    return handled(event, () => {
      edit((old) => withoutRegion(old, region.id));
      select('');
    });
  }
  if (event.key === 'PageUp' || event.key === 'PageDown') {
    const at = scene().regions.indexOf(region);
    const place = at + (event.key === 'PageUp' ? -1 : 1);
    return handled(event, () => edit((old) => moveRegion(old, region.id, place)));
  }
  const arrow = kArrows[event.key];
  if (!arrow) return;
  const [dx, dy] = arrow.map((way) => way * kStep) as [number, number];
  handled(event, () => {
    if (event.shiftKey && region.shape.kind === 'box') {
      const { box } = region.shape;
      const right = Math.min(scene().width, Math.max(box.left + kStep, box.right + dx));
      const bottom = Math.min(scene().height, Math.max(box.top + kStep, box.bottom + dy));
      editRegion(region.id, { shape: { kind: 'box', box: { ...box, right, bottom } } }, 'resize');
    } else {
      editRegion(region.id, { shape: shifted(region.shape, dx, dy, scene()) }, 'move');
    }
  });
}

function duplicateSelected() {
  const region = selectedRegion();
  if (!region) return;
  const moved = shifted(region.shape, kStep * 2, kStep * 2, scene());
  const copy = { ...newRegion(moved), ...region, id: newRegion(moved).id, shape: moved };
  edit((old) => withRegion(old, { ...copy, name: region.name && `${region.name} copy` }));
  select(copy.id);
}

function handled(event: KeyboardEvent, run: () => void) {
  event.preventDefault();
  run();
}

function press(selector: string, event: KeyboardEvent) {
  event.preventDefault();
  document.querySelector<HTMLElement>(selector)?.click();
}
