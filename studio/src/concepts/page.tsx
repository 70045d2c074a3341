import { useEffect, useState } from 'preact/hooks';

import { api, Failure, thumbnailUrl } from '../api/client';
import type { Concept, ConceptSummary, Options } from '../api/types';
import { go, route } from '../route';
import { attempt, conceptVersion, sayDeleted, tell, versionOf } from '../state';
import { useStore } from '../store';
import { Icon } from '../ui/icons';
import { forget, useKept } from '../ui/kept';
import { Button, Dialog, Empty, Labelled, Menu, MenuItem, Segments } from '../ui/kit';
import { addDropped } from './adding';
import { Captions, unsavedOf, type Drafts } from './captions';
import { chosenFiles, droppedFiles, type Drop } from './dropped';
import { Pictures } from './pictures';
import { kNothing, sorted, type Dropped } from './sorting';
import { Tuning } from './tuning';

/// Pictures of somebody or something, made ready and learned.

type Tab = 'pictures' | 'captions' | 'tuning';
const kTabs: { value: Tab; label: string }[] = [
  { value: 'pictures', label: 'Pictures' },
  { value: 'captions', label: 'Captions' },
  { value: 'tuning', label: 'Tuning' },
];

export function ConceptsPage() {
  const [name = '', tab] = useStore(route).rest.split('/');
  const versions = useStore(conceptVersion);
  const [{ list, of }, setList] = useState<{ list: ConceptSummary[] | null; of: typeof versions }>({ list: null, of: versions });
  const [adding, setAdding] = useState<Dropped | null>(null);
  const load = () => attempt(async () => setList({ list: await api.concepts(), of: versions }));
  useEffect(() => void load(), [versions]);
  const current = name || list?.[0]?.name || '';
  const drop = (event: DragEvent) => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    void attempt(async () => take(await droppedFiles(event.dataTransfer)));
  };
  /// A folder may be a concept of its own; single files belong to the one that is open.
  const take = async (drop: Drop) => {
    const dropped = await sorted(drop);
    if (current && (!dropped.name || dropped.pictures.length === 0)) return addDropped(current, dropped);
    if (dropped.pictures.length > 0) return setAdding(dropped);
    const lines = [...dropped.leftOut, ...dropped.loose.map(({ found }) => ({ name: found.path, text: 'belongs to no picture' }))];
    tell({ title: 'There is no picture in what was dropped: PNG, JPEG or WebP are taken.', lines });
  };
  return (
    <div class="concepts" onDragOver={(event) => event.preventDefault()} onDrop={drop}>
      <aside class="concept-list" aria-label="Concepts">
        <div class="row spread layers-head">
          <h2>Concepts</h2>
          <Button icon="plus" class="small" onClick={() => setAdding(kNothing)}>New</Button>
        </div>
        <ul>
          {list?.map((concept) => <Entry key={concept.name} concept={concept} version={String(versionOf(of, concept.name))} on={concept.name === current} />)}
        </ul>
      </aside>
      {list?.length === 0 && <NoConcepts onAdd={() => setAdding(kNothing)} />}
      {current && <ConceptView key={current} name={current} tab={tabOf(tab)} version={versionOf(versions, current)} onGone={load} />}
      {adding && <NewConcept dropped={adding} current={current} onClose={() => setAdding(null)} onMade={(made) => { void load(); if (route.get().page === 'concepts') go('concepts', made); }} />}
    </div>
  );
}

function tabOf(text: string | undefined): Tab {
  return kTabs.find(({ value }) => value === text)?.value ?? 'pictures';
}

function NoConcepts({ onAdd }: { onAdd: () => void }) {
  return (
    <Empty icon="concepts" title="Nobody is here yet">
      <p>A concept is a character, an object or a place that the model does not know. Five to twenty pictures of it are enough.</p>
      <p>Drop their folder here, or begin with a name. Then <b>Tuning</b> learns it, <b>Together</b> puts several into one model, and <b>Compose</b> paints them where you draw them.</p>
      <Button kind="primary" icon="plus" onClick={onAdd}>New concept</Button>
    </Empty>
  );
}

function Entry({ concept, version, on }: { concept: ConceptSummary; version: string; on: boolean }) {
  return (
    <li>
      <a class={on ? 'concept-entry on' : 'concept-entry'} href={`#/concepts/${encodeURIComponent(concept.name)}`} aria-current={on ? 'true' : undefined}>
        {concept.cover ? <img src={thumbnailUrl(concept.cover, version)} alt="" loading="lazy" /> : <span class="no-cover"><Icon name="picture" /></span>}
        <span class="grow">
          <span class="layer-name clip">{concept.name}</span>
          <span class="layer-prompt clip">{concept.pictures} pictures{concept.class_word && `, ${concept.class_word}`}</span>
        </span>
      </a>
    </li>
  );
}

const kFraming = ['framing', 'size', 'crop_probability'];

function ConceptView(props: { name: string; tab: Tab; version: number; onGone: () => void }) {
  const { name, tab, version } = props;
  const [{ concept, of }, setConcept] = useState<{ concept: Concept | null; of: string }>({ concept: null, of: '' });
  const [values, setValues] = useKept<Options>(`tuning of ${name}`, {});
  const [drafts, setDrafts] = useKept<Drafts>(`captions of ${name}`, {});
  const framing = Object.fromEntries(kFraming.filter((option) => option in values).map((option) => [option, values[option]]));
  const setTab = (next: Tab) => go('concepts', name, next);
  const load = () =>
    attempt(async () => {
      try {
        setConcept({ concept: await api.concept(name, framing), of: String(version) });
      } catch (error) {
        if (!concept || !(error instanceof Failure && error.status === 404)) throw error;
        props.onGone(); // deleted here, which was said, or elsewhere
      }
    });
  useEffect(() => void load(), [name, version, JSON.stringify(framing)]);
  if (!concept) return <Loading name={name} />;
  const unsaved = unsavedOf(concept, drafts).length;
  const tabs = kTabs.map((one) => (one.value === 'captions' && unsaved > 0 ? { ...one, note: `${unsaved} not saved` } : one));
  const remove = () =>
    attempt(async () => {
      sayDeleted(`${name} is`, await api.removeConcept(name));
      go('concepts');
      props.onGone();
    });
  return (
    <div class="scroll concept-scroll">
      <div class="page-body">
        <div class="page-head">
          <div class="grow">
            <h1>{concept.name}</h1>
            <p>{concept.summary}</p>
          </div>
          <Segments label="What to see" value={tab} choices={tabs} onChange={setTab} />
          <div class="menu end">
            <Menu label={`More for ${name}`}>
              {(close) => <MenuItem icon="trash" danger onClick={() => { close(); void remove(); }}>Delete the concept</MenuItem>}
            </Menu>
          </div>
        </div>
        <Settings concept={concept} onChange={() => void load()} />
        {concept.pictures.length > 0 && <Problems concept={concept} />}
        {tab === 'pictures' && <Pictures concept={concept} version={of} values={values} onValues={setValues} onAdd={(files) => void attempt(async () => addDropped(name, await sorted(chosenFiles(files))))} onTune={() => setTab('tuning')} />}
        {tab === 'captions' && <Captions concept={concept} version={of} drafts={drafts} onDrafts={setDrafts} onChange={() => void load()} />}
        {tab === 'tuning' && <Tuning concept={concept} values={values} onValues={setValues} />}
      </div>
    </div>
  );
}

/// The program that reads pictures may have to start first.
function Loading({ name }: { name: string }) {
  return (
    <div class="page-body" aria-busy="true">
      <h1 class="clip">{name}</h1>
      <p class="row soft" role="status"><span class="spinner" aria-hidden="true" />Looking at its pictures…</p>
    </div>
  );
}

function Settings({ concept, onChange }: { concept: Concept; onChange: () => void }) {
  const save = (settings: Options) =>
    attempt(async () => {
      await api.changeConcept(concept.name, settings);
      onChange();
    });
  return (
    <div class="concept-settings">
      <Labelled label="Words" hint="how prompts call it; two is usual, e.g. <hina1> <hina2>">
        {(id, describedBy) => (
          <input
            id={id} aria-describedby={describedBy} type="text" class="mono" spellcheck={false}
            defaultValue={concept.words.join(' ')} key={concept.words.join(' ')}
            onChange={(event) => void save({ words: event.currentTarget.value.split(/[\s,]+/).filter(Boolean) })}
          />
        )}
      </Labelled>
      <Labelled label="Class" hint="what it is one of: man, dog, chair">
        {(id, describedBy) => (
          <input
            id={id} aria-describedby={describedBy} type="text" defaultValue={concept.class_word} key={concept.class_word}
            onChange={(event) => void save({ class_word: event.currentTarget.value.trim() })}
          />
        )}
      </Labelled>
    </div>
  );
}

/// What the check of tuning finds that is about no single picture.
function Problems({ concept }: { concept: Concept }) {
  const own = new Set(concept.pictures.flatMap((picture) => picture.problems));
  const problems = concept.problems.filter((problem) => !own.has(problem));
  const count = concept.problems.length - problems.length;
  if (problems.length + concept.warnings.length + count === 0) return null;
  return (
    <ul class="notes" aria-label="What the check finds">
      {problems.map((text) => <li key={text} class="finding error"><Icon name="warning" size={16} />{text}</li>)}
      {count > 0 && <li class="finding error"><Icon name="warning" size={16} />{count} {count === 1 ? 'picture has' : 'pictures have'} something wrong, said below it.</li>}
      {concept.warnings.map((text) => <li key={text} class="finding warning"><Icon name="warning" size={16} />{text}</li>)}
    </ul>
  );
}

/// What concept.json of the dropped folder says goes over what is made of the name.
function settingsOf(dropped: Dropped, tidy: string): Options {
  const word = tidy.replace(/[^a-z]/g, '');
  return { words: word ? [`<${word}1>`, `<${word}2>`] : [], ...dropped.settings };
}

function NewConcept(props: { dropped: Dropped; current: string; onClose: () => void; onMade: (name: string) => void }) {
  const { dropped, current } = props;
  const [name, setName] = useState(dropped.name);
  const [className, setClassName] = useState(String(dropped.settings?.class_word ?? ''));
  const [busy, setBusy] = useState(false);
  const tidy = name.trim().toLowerCase().replace(/[^a-z0-9_-]+/g, '-');
  const settings = settingsOf(dropped, tidy);
  const words = settings.words as string[];
  const run = (work: () => Promise<void>) =>
    attempt(async () => {
      setBusy(true);
      await work();
      props.onClose();
    }).finally(() => setBusy(false));
  const make = () =>
    run(async () => {
      await api.newConcept({ ...settings, name: tidy, class_word: className.trim() });
      forget(`captions of ${tidy}`); // of one of this name that was here before
      if (dropped !== kNothing) await addDropped(tidy, dropped);
      props.onMade(tidy);
    });
  const addToCurrent = () => {
    const own = dropped.settings ? [{ name: 'concept.json', text: `${current} has its own words and class` }] : [];
    return run(() => addDropped(current, { ...dropped, leftOut: [...own, ...dropped.leftOut] }));
  };
  return (
    <Dialog
      title="New concept" onClose={props.onClose}
      unsaved={dropped.pictures.length > 0 ? 'The pictures are not in a concept yet.' : (name !== '' || className !== '') && 'The concept is not made yet.'}
      actions={
        <>
          {dropped.pictures.length > 0 && current && <Button disabled={busy} onClick={() => void addToCurrent()}>Add to {current}</Button>}
          <Button kind="primary" busy={busy} disabled={!tidy || busy} onClick={() => void make()}>Make it</Button>
        </>
      }
    >
      {dropped.pictures.length > 0 && <p>{waiting(dropped)}</p>}
      <Labelled label="Name" hint={words.length > 0 ? `prompts will call it ${words.join(' ')}` : 'hina, my-dog, the-red-chair'}>
        {(id) => <input id={id} type="text" value={name} autofocus onInput={(event) => setName(event.currentTarget.value)} />}
      </Labelled>
      <Labelled label="What it is one of" hint="a word that the model knows: girl, dog, chair">
        {(id) => (
          <input
            id={id} type="text" value={className} onInput={(event) => setClassName(event.currentTarget.value)}
            onKeyDown={(event) => event.key === 'Enter' && tidy && void make()}
          />
        )}
      </Labelled>
    </Dialog>
  );
}

function waiting({ pictures }: Dropped): string {
  const count = (what: 'mask' | 'caption') => pictures.filter((picture) => picture[what]).length;
  const waits = pictures.length === 1 ? '1 picture is waiting' : `${pictures.length} pictures are waiting`;
  return `${waits}, ${count('mask')} with a mask, ${count('caption')} with a caption.`;
}
