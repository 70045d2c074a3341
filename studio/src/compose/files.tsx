import { useEffect, useState } from 'preact/hooks';

import { api } from '../api/client';
import type { Options, PictureRead } from '../api/types';
import { sceneFromJson } from '../scene/json';
import { emptyScene } from '../scene/model';
import { calledFiles, knownConcepts } from '../scene/words';
import { attempt, conceptFiles, models, reloadFiles, say, tell, type Line } from '../state';
import { useStore } from '../store';
import { when } from '../ui/format';
import { Button, Dialog, IconButton, Menu, MenuItem } from '../ui/kit';
import { content, open, project, scene, settings, type Content, type Opened } from './document';
import { sceneFile } from './request';

/// Scenes in and out: projects on the server, scene files, pictures with their records.

/// Takes up the scene and the options of a picture's record, or of a scene file.
export async function openFile(file: File) {
  await attempt(async () => {
    if (file.type === 'application/json' || file.name.endsWith('.json')) {
      const title = file.name.replace(/\.json$/, '');
      openScene(JSON.parse(await file.text()), {}, { project: { id: 0, title } });
      return;
    }
    await openRecord(await api.readPicture(new Blob([file], { type: 'image/png' })));
  });
}

/// Takes up what a picture says of itself, and says what of that has no place here: of what is here now.
export async function openRecord(read: PictureRead, around: Pick<Opened, 'project' | 'shown'> = {}) {
  await reloadFiles();
  openScene(read.scene, read.options, around);
  const lines = leftOutOf(read);
  if (lines.length > 0) tell({ title: 'The picture is open, but not all of what made it:', lines });
  else say(`Every field of the picture is here, as ${read.program} wrote it.`);
}

/// What the server could not take from the record, and what of the rest this studio does not have.
function leftOutOf({ options, left_out }: PictureRead): Line[] {
  const lines: Line[] = (left_out ?? []).map((text) => ({ name: '', text }));
  const { base } = settings.get();
  if (typeof options.base === 'string' && options.base !== base) {
    lines.push({ name: options.base, text: base ? `is not among the models; ${base} is chosen in its place` : 'is not among the models' });
  }
  const files = conceptFiles.get();
  const known = knownConcepts(files, models.get().find((model) => model.path === base), settings.get().preferred);
  const called = calledFiles(scene(), known).map(({ path }) => path);
  for (const path of Object.keys(settings.get().scales)) {
    if (!files.some((file) => file.path === path)) lines.push({ name: path, text: 'is not among the concept files' });
    else if (!called.includes(path)) lines.push({ name: path, text: 'is not used: no prompt has its words, or another file has the same ones' });
  }
  return lines;
}

/// Options that became part of the scene, or that belong to one picture alone.
const kSceneOptions = ['prompt', 'negative_prompt', 'height', 'width', 'concept', 'base', 'out', 'scene', 'regions', 'from', 'preview', 'grid', 'redo_region'];

export function openScene(
  json: Record<string, unknown>,
  options: Options,
  around: Pick<Opened, 'project' | 'shown'> = {},
) {
  const number = (name: string, absent: number) => Number(options[name] ?? 0) || absent;
  const now = scene();
  const merged = { ...json };
  for (const key of ['prompt', 'negative_prompt']) {
    if (merged[key] === undefined && typeof options[key] === 'string') merged[key] = options[key];
  }
  const canvas = { width: number('width', now.width), height: number('height', now.height) };
  const rest = Object.fromEntries(Object.entries(options).filter(([name]) => !kSceneOptions.includes(name)));
  const list = Array.isArray(options.concept) ? (options.concept as string[]) : [];
  const scales = Object.fromEntries(
    list.map((entry) => entry.split('=')).map(([path, scale]) => [path!, Number(scale ?? 1)]),
  );
  const known = models.get().some((model) => model.path === options.base);
  open({
    document: sceneFromJson(merged, canvas),
    settings: {
      base: known ? String(options.base) : settings.get().base,
      options: rest,
      scales,
      randomSeed: rest.seed === undefined,
    },
    ...around,
  });
}

/// A project of the server. One that an API client or `mos studio --scene` made has the scene's file
/// alone.
export async function openProject(id: number) {
  await attempt(async () => {
    const found = await api.project(id);
    const content = found.content as Partial<Content> & { scene?: Record<string, unknown> };
    const around = { project: { id, title: found.title } };
    if (content.document) open({ document: content.document, ...(content.settings ? { settings: content.settings } : {}), ...around });
    else openScene(content.scene ?? {}, {}, around);
  });
}

async function download() {
  await attempt(async () => {
    const text = `${JSON.stringify(await sceneFile(scene()), null, 2)}\n`;
    const anchor = document.createElement('a');
    anchor.href = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
    anchor.download = `${project.get().title || 'scene'}.json`;
    anchor.click();
    URL.revokeObjectURL(anchor.href);
  });
}

async function save(title: string) {
  await attempt(async () => {
    const { id } = project.get();
    const kept = { ...content(), scene: await sceneFile(scene()) };
    if (id) await api.saveProject(id, title, kept);
    const saved = id || (await api.addProject(title, kept)).id;
    project.set({ id: saved, title });
    say(`“${title}” is saved.`);
  });
}

export function FileMenu() {
  const current = useStore(project);
  const [dialog, setDialog] = useState<'' | 'open' | 'save'>('');
  const saveNow = () => (current.id ? void save(current.title) : setDialog('save'));
  const begin = () => {
    const { width, height } = scene();
    open({ document: emptyScene(width, height) });
  };
  return (
    <>
      <Menu label="Scene" text={current.title || 'Untitled scene'} icon="folder" kind="quiet">
        {(close) => {
          const item = (run: () => void) => () => { close(); run(); };
          return (
            <>
              <MenuItem icon="plus" onClick={item(begin)}>New</MenuItem>
              <MenuItem icon="folder" onClick={item(() => setDialog('open'))}>Open…</MenuItem>
              <MenuItem icon="check" keys="Ctrl S" onClick={item(saveNow)}>Save</MenuItem>
              <MenuItem icon="duplicate" onClick={item(() => { project.set({ id: 0, title: current.title }); setDialog('save'); })}>Save as…</MenuItem>
              <hr />
              <MenuItem icon="upload" onClick={item(pickFile)}>From a scene file or a picture…</MenuItem>
              <MenuItem icon="download" onClick={item(() => void download())}>Download the scene file</MenuItem>
            </>
          );
        }}
      </Menu>
      <button class="hidden-name" tabIndex={-1} data-save onClick={saveNow}>Save</button>
      {dialog === 'open' && <OpenDialog onClose={() => setDialog('')} />}
      {dialog === 'save' && <SaveDialog title={current.title} onClose={() => setDialog('')} />}
    </>
  );
}

function pickFile() {
  const input = document.createElement('input');
  input.type = 'file';
  input.accept = '.json,application/json,image/png';
  input.onchange = () => input.files?.[0] && void openFile(input.files[0]);
  input.click();
}

function SaveDialog({ title: initial, onClose }: { title: string; onClose: () => void }) {
  const [title, setTitle] = useState(initial);
  const done = () => {
    void save(title.trim());
    onClose();
  };
  return (
    <Dialog title="Save the scene" onClose={onClose} actions={<Button kind="primary" disabled={!title.trim()} onClick={done}>Save</Button>}>
      <input
        type="text" aria-label="Title" placeholder="Two friends in a meadow" value={title} autofocus
        onInput={(event) => setTitle(event.currentTarget.value)}
        onKeyDown={(event) => event.key === 'Enter' && title.trim() && done()}
      />
    </Dialog>
  );
}

function OpenDialog({ onClose }: { onClose: () => void }) {
  const [list, setList] = useState<{ id: number; title: string; changed: string }[] | null>(null);
  const load = () => attempt(async () => setList(await api.projects()));
  useEffect(() => void load(), []);
  const take = async (id: number) => {
    await openProject(id);
    onClose();
  };
  const remove = (id: number) =>
    attempt(async () => {
      const { title, content: kept } = await api.project(id);
      await api.removeProject(id);
      await load();
      say(`“${title}” is deleted.`, 'info', { label: 'Undo', run: () => void attempt(() => api.addProject(title, kept)) });
    });
  return (
    <Dialog title="Open a scene" onClose={onClose}>
      {list?.length === 0 && <p class="soft">Nothing is saved yet.</p>}
      <ul>
        {list?.map(({ id, title, changed }) => (
          <li key={id} class="row listed">
            <button class="link-button grow clip" onClick={() => void take(id)}>{title}</button>
            <span class="faint">{when(changed)}</span>
            <IconButton icon="trash" label={`Delete ${title}`} onClick={() => void remove(id)} />
          </li>
        ))}
      </ul>
    </Dialog>
  );
}
