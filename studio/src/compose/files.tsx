import { useEffect, useState } from 'preact/hooks';

import { api, fileUrl } from '../api/client';
import type { Options, PictureRead } from '../api/types';
import { chosenFiles, type Drop, type Found } from '../concepts/dropped';
import { sceneFromJson } from '../scene/json';
import { emptyScene } from '../scene/model';
import { calledFiles, knownConcepts } from '../scene/words';
import { attempt, conceptFiles, models, reloadFiles, say, tell, type Line } from '../state';
import { useStore } from '../store';
import { when } from '../ui/format';
import { Button, Dialog, IconButton, Menu, MenuItem } from '../ui/kit';
import { unzipped } from '../ui/zip';
import { nameIn, packed, picturesIn, withPictures } from './bundle';
import { content, open, project, scene, settings, type Content, type Opened } from './document';
import { sceneFile } from './request';

/// Scenes in and out: projects on the server, scene files, pictures with their records.

const isScene = ({ file }: Found) => file.type === 'application/json' || file.name.endsWith('.json');
const isArchive = ({ file }: Found) => file.name.endsWith('.zip');

/// Takes up a scene: its file, alone or with the pictures that it names (side by side or in an archive), or a
/// picture's record. One scene is open at a time; whatever else was given is named.
export async function openFiles({ found, beyond }: Drop) {
  await attempt(async () => {
    const first = found.find(isScene) ?? found.find(isArchive) ?? found.find(({ file }) => /\.png$/i.test(file.name)) ?? found[0];
    if (!first) return say(beyond.length > 0 ? 'What was dropped lies too deep in its folders.' : 'There is no file in what was dropped.', 'error');
    const others = found.filter((one) => one !== first);
    const lines = beyond.map((path) => ({ name: path, text: 'lies too deep' }));
    const unopened = (list: Found[]) => [...list.map(({ path }) => ({ name: path, text: 'was not opened: one scene at a time' })), ...lines];
    if (isScene(first)) return openSceneFile(first.file, others, unopened);
    if (isArchive(first)) return openArchive(first.file, unopened(others));
    await openRecord(await api.readPicture(new Blob([first.file], { type: 'image/png' })), {}, unopened(others));
  });
}

async function openArchive(file: File, lines: Line[]) {
  const entries = await unzipped(new Uint8Array(await file.arrayBuffer()));
  const found = entries.map(({ name, bytes }) => ({ path: name, file: new File([bytes], nameIn(name)) }));
  const scene = found.find(isScene);
  if (!scene) throw new Error(`${file.name} holds no scene file.`);
  await openSceneFile(scene.file, found.filter((one) => one !== scene), (list) => [...list.map(({ path }) => ({ name: path, text: 'is not named in the scene' })), ...lines]);
}

/// `beside` may be the pictures that the scene names; `unopened` says of those that are not.
async function openSceneFile(file: File, beside: Found[], unopened: (list: Found[]) => Line[]) {
  const json = JSON.parse(await file.text());
  const places = new Map<string, string>();
  const used = new Set<Found>();
  const missing: Line[] = [];
  for (const path of picturesIn(json)) {
    const own = beside.find((one) => nameIn(one.path) === nameIn(path));
    if (own) {
      used.add(own);
      places.set(path, (await api.upload(nameIn(path), own.file)).path);
    } else if (!(await isHere(path))) {
      missing.push({ name: path, text: 'is named in the scene and not here: drop it together with the scene file' });
    }
  }
  openScene(withPictures(json, (path) => places.get(path) ?? path), {}, { project: { id: 0, title: file.name.replace(/\.json$/, '') } });
  const lines = [...missing, ...unopened(beside.filter((one) => !used.has(one)))];
  if (lines.length > 0) tell({ title: `${file.name} is open, but not all that was given:`, lines });
}

async function isHere(path: string): Promise<boolean> {
  const answer = await fetch(fileUrl(path), { method: 'HEAD' }).catch(() => null);
  return answer?.ok ?? false;
}

/// Takes up what a picture says of itself, and says what of that has no place here: of what is here now.
/// `more` is to be said beside it.
export async function openRecord(read: PictureRead, around: Pick<Opened, 'project' | 'shown'> = {}, more: Line[] = []) {
  await reloadFiles();
  openScene(read.scene, read.options, around);
  const lines = [...leftOutOf(read), ...more];
  const lacks = lines.length > more.length ? 'not all of what made it' : 'nothing else';
  if (lines.length > 0) tell({ title: `The picture is open, but ${lacks}:`, lines });
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
    const title = (project.get().title || 'scene').replace(/[/\\]/g, '-');
    const { name, blob, pictures } = await packed(await sceneFile(scene()), title);
    const anchor = document.createElement('a');
    anchor.href = URL.createObjectURL(blob);
    anchor.download = name;
    anchor.click();
    URL.revokeObjectURL(anchor.href);
    if (pictures > 0) say(`${name} holds the scene file and the ${pictures === 1 ? 'picture' : `${pictures} pictures`} that it names. Open it here as it is; elsewhere they belong side by side.`);
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
  input.accept = '.json,application/json,.zip,image/png';
  input.multiple = true; // a scene file and its pictures
  input.onchange = () => void openFiles(chosenFiles(input.files));
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
