import type { Options } from '../api/types';
import { changed, newHistory, redone, settled, undone, type History } from '../scene/history';
import { changeRegion, emptyScene, type Region, type Scene } from '../scene/model';
import { info } from '../state';
import { newStore } from '../store';

/// What is open on the Compose page. The scene can be undone; what is selected or shown cannot.

export type Tool = 'select' | 'box' | 'polygon' | 'brush' | 'lasso' | 'eraser';

export interface View {
  selected: string; ///< The id of a region; empty: the scene itself.
  tool: Tool;
  brush: number; ///< Pixels of the canvas.
  shade: 'fill' | 'outline' | 'none'; ///< How regions are drawn over a picture.
  isolate: boolean; ///< Only the selected region is drawn.
}

/// A picture under the regions.
export interface Shown {
  url: string;
  path: string; ///< In the studio's folder; empty: a preview.
}

export interface Settings {
  base: string;
  options: Options;
  scales: Record<string, number>; ///< Of concept files, by path.
  randomSeed: boolean;
  preferred?: string[]; ///< Concept files that are taken before others with the same words.
}

export interface Project {
  id: number; ///< 0: not saved yet.
  title: string;
}

export const history = newStore<History<Scene>>(newHistory(emptyScene()));
export const view = newStore<View>({
  selected: '', tool: 'select', brush: 48, shade: 'fill', isolate: false,
});
export const settings = newStore<Settings>({ base: '', options: {}, scales: {}, randomSeed: true });
export const shown = newStore<Shown | null>(null);
export const project = newStore<Project>({ id: 0, title: '' });
/// Jobs that this page started, the newest first.
export const started = newStore<number[]>([]);

export function scene(): Scene {
  return history.get().present;
}

/// Changes the scene. `step` names a change that goes on, see changed().
export function edit(change: (scene: Scene) => Scene, step = '') {
  history.set((old) => changed(old, change(old.present), step));
}

export function editRegion(id: string, change: Partial<Region>, step = '') {
  edit((old) => changeRegion(old, id, change), step && `${step} of ${id}`);
}

export function endStep() {
  history.set(settled);
}

export function undo() {
  stepOver(undone);
}

export function redo() {
  stepOver(redone);
}

/// Where the step is one that took up another scene, what goes with each scene changes with it.
function stepOver(step: typeof undone) {
  const from = scene();
  history.set(step);
  const to = scene();
  const kept = surroundings.get(to);
  if (kept?.other === from) {
    keepSurroundings(from, to);
    settings.set(kept.settings);
    project.set(kept.project);
    shown.set(kept.shown);
  }
  keepSelection();
}

export function select(id: string) {
  endStep();
  view.set((old) => (old.selected === id ? old : { ...old, selected: id }));
}

export function setTool(tool: Tool) {
  view.set((old) => ({ ...old, tool }));
}

/// A selection that undoing took away is none.
function keepSelection() {
  const { selected } = view.get();
  if (selected && !scene().regions.some((region) => region.id === selected)) select('');
}

export function selectedRegion(): Region | undefined {
  const { selected } = view.get();
  return scene().regions.find((region) => region.id === selected);
}

/// What is kept between visits, and what a project holds.
export interface Content {
  document: Scene;
  settings: Settings;
}

export function content(): Content {
  return { document: scene(), settings: settings.get() };
}

/// What goes with a scene but is no part of it, as it was when `other` took the scene's place.
interface Surroundings {
  settings: Settings;
  project: Project;
  shown: Shown | null;
  other: Scene;
}

const surroundings = new WeakMap<Scene, Surroundings>();

function keepSurroundings(of: Scene, other: Scene) {
  surroundings.set(of, { settings: settings.get(), project: project.get(), shown: shown.get(), other });
}

export interface Opened {
  document: Scene;
  settings?: Settings;
  project?: Project;
  shown?: Shown | null;
}

/// Takes another scene up in place of the one that is there, which undoing brings back with all that
/// goes with it.
export function open(next: Opened) {
  takeUp();
  const before = scene();
  keepSurroundings(before, next.document);
  history.set((old) => changed(old, next.document));
  if (next.settings) settings.set(next.settings);
  project.set(next.project ?? { id: 0, title: '' });
  shown.set(next.shown ?? null);
  keepSurroundings(next.document, before);
  view.set((old) => ({ ...old, selected: '', tool: 'select', isolate: false }));
}

const kKey = 'mos-compose';
const kSaveMilliseconds = 400;
let isTaken = false;
let folder: string | undefined; // whose numbers `project` and `started` hold

/// Numbers of projects and jobs are those of one folder: where another one answers, they mean something else.
function leaveFolder() {
  const now = info.get()?.folder ?? folder;
  if (now === folder) return;
  folder = now;
  project.set(({ title }) => ({ id: 0, title }));
  started.set([]);
}

/// Takes up where the last visit ended, once, and keeps what is done from now on.
export function takeUp() {
  if (isTaken) return;
  isTaken = true;
  try {
    const kept = JSON.parse(localStorage.getItem(kKey) ?? 'null');
    if (kept?.document) history.set(newHistory(kept.document));
    if (kept?.settings) settings.set(kept.settings);
    if (kept?.project) project.set(kept.project);
    if (Array.isArray(kept?.started)) started.set(kept.started);
    folder = kept?.folder;
  } catch {
    localStorage.removeItem(kKey);
  }
  leaveFolder();
  info.watch(leaveFolder);
  let timer = 0;
  const save = () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(saveNow, kSaveMilliseconds);
  };
  for (const store of [history, settings, project, started]) store.watch(save);
  window.addEventListener('pagehide', saveNow);
}

function saveNow() {
  const kept = { ...content(), project: project.get(), started: started.get().slice(0, 20), folder };
  try {
    localStorage.setItem(kKey, JSON.stringify(kept));
  } catch {
    // The browser's store is full or forbidden: projects on the server are the safe place.
  }
}
