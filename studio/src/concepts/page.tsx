import { useEffect, useState } from 'preact/hooks';

import { api, fileUrl } from '../api/client';
import type { Concept, ConceptSummary, Options } from '../api/types';
import { go, route } from '../route';
import { attempt, conceptVersion, say, versionOf } from '../state';
import { useStore } from '../store';
import { Icon } from '../ui/icons';
import { Button, Dialog, Empty, Labelled, Menu, MenuItem, Segments } from '../ui/kit';
import { Captions } from './captions';
import { Pictures } from './pictures';
import { Tuning } from './tuning';

/// Pictures of somebody or something, made ready and learned.

type Tab = 'pictures' | 'captions' | 'tuning';
const kTabs: { value: Tab; label: string }[] = [
  { value: 'pictures', label: 'Pictures' },
  { value: 'captions', label: 'Captions' },
  { value: 'tuning', label: 'Tuning' },
];

export function ConceptsPage() {
  const { rest: name } = useStore(route);
  const versions = useStore(conceptVersion);
  const [list, setList] = useState<ConceptSummary[] | null>(null);
  const [adding, setAdding] = useState<File[] | null>(null);
  const load = () => attempt(async () => setList(await api.concepts()));
  useEffect(() => void load(), [versions]);
  const current = name || list?.[0]?.name || '';
  const drop = (event: DragEvent) => {
    const files = picturesIn(event.dataTransfer?.files);
    if (files.length === 0) return;
    event.preventDefault();
    if (current) void addPictures(current, files);
    else setAdding(files);
  };
  return (
    <div class="concepts" onDragOver={(event) => event.preventDefault()} onDrop={drop}>
      <aside class="concept-list" aria-label="Concepts">
        <div class="row spread layers-head">
          <h2>Concepts</h2>
          <Button icon="plus" class="small" onClick={() => setAdding([])}>New</Button>
        </div>
        <ul>
          {list?.map((concept) => <Entry key={concept.name} concept={concept} on={concept.name === current} />)}
        </ul>
      </aside>
      {list?.length === 0 && <NoConcepts onAdd={() => setAdding([])} />}
      {current && <ConceptView key={current} name={current} version={versionOf(versions, current)} onGone={load} />}
      {adding && <NewConcept files={adding} onClose={() => setAdding(null)} onMade={(made) => { void load(); go('concepts', made); }} />}
    </div>
  );
}

function NoConcepts({ onAdd }: { onAdd: () => void }) {
  return (
    <Empty icon="concepts" title="Nobody is here yet">
      <p>A concept is a character, an object or a place that the model does not know. Five to twenty pictures of it are enough.</p>
      <Button kind="primary" icon="plus" onClick={onAdd}>New concept</Button>
    </Empty>
  );
}

function Entry({ concept, on }: { concept: ConceptSummary; on: boolean }) {
  return (
    <li>
      <a class={on ? 'concept-entry on' : 'concept-entry'} href={`#/concepts/${encodeURIComponent(concept.name)}`} aria-current={on ? 'true' : undefined}>
        {concept.cover ? <img src={fileUrl(concept.cover)} alt="" loading="lazy" /> : <span class="no-cover"><Icon name="picture" /></span>}
        <span class="grow">
          <span class="layer-name clip">{concept.name}</span>
          <span class="layer-prompt clip">{concept.pictures} pictures{concept.class_word && `, ${concept.class_word}`}</span>
        </span>
      </a>
    </li>
  );
}

export function picturesIn(files: FileList | undefined | null): File[] {
  return [...(files ?? [])].filter((file) => file.type.startsWith('image/'));
}

/// A name whose stem no picture has yet: masks and captions go by stems.
export function freeName(wanted: string, taken: Set<string>): string {
  const dot = wanted.lastIndexOf('.');
  const [stem, ending] = dot > 0 ? [wanted.slice(0, dot), wanted.slice(dot)] : [wanted, ''];
  let name = stem;
  for (let count = 2; taken.has(name); ++count) name = `${stem}-${count}`;
  taken.add(name);
  return name + ending;
}

/// One after the other, so that a refusal names its picture and the others are there.
export async function addPictures(name: string, files: File[]) {
  const there = await attempt(() => api.concept(name));
  const taken = new Set(there?.pictures.map((picture) => picture.name));
  let added = 0;
  for (const file of files) {
    if (await attempt(() => api.putPicture(name, freeName(file.name, taken), file))) ++added;
  }
  if (added > 0) say(`${added} ${added === 1 ? 'picture is' : 'pictures are'} in ${name}.`);
}

function ConceptView(props: { name: string; version: number; onGone: () => void }) {
  const { name, version } = props;
  const [concept, setConcept] = useState<Concept | null>(null);
  const [framing, setFraming] = useState<Options>({});
  const [tab, setTab] = useState<Tab>('pictures');
  const load = () => attempt(async () => setConcept(await api.concept(name, framing)));
  useEffect(() => void load(), [name, version, JSON.stringify(framing)]);
  if (!concept) return <div class="page-body" />;
  const remove = () =>
    attempt(async () => {
      await api.removeConcept(name);
      say(`${name} is in the trash of the studio’s folder.`);
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
          <Segments label="What to see" value={tab} choices={kTabs} onChange={setTab} />
          <div class="menu end">
            <Menu label={`More for ${name}`}>
              {(close) => <MenuItem icon="trash" danger onClick={() => { close(); void remove(); }}>Delete the concept</MenuItem>}
            </Menu>
          </div>
        </div>
        <Settings concept={concept} onChange={() => void load()} />
        <Problems concept={concept} />
        {tab === 'pictures' && <Pictures concept={concept} framing={framing} onFraming={setFraming} onAdd={(files) => void addPictures(name, files)} />}
        {tab === 'captions' && <Captions concept={concept} onChange={() => void load()} />}
        {tab === 'tuning' && <Tuning concept={concept} onFraming={setFraming} />}
      </div>
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

function NewConcept(props: { files: File[]; onClose: () => void; onMade: (name: string) => void }) {
  const [name, setName] = useState('');
  const [className, setClassName] = useState('');
  const [busy, setBusy] = useState(false);
  const tidy = name.trim().toLowerCase().replace(/[^a-z0-9_-]+/g, '-');
  const word = tidy.replace(/[^a-z]/g, '');
  const words = word ? [`<${word}1>`, `<${word}2>`] : [];
  const make = () =>
    attempt(async () => {
      setBusy(true);
      await api.newConcept({ name: tidy, words, class_word: className.trim() });
      await addPictures(tidy, props.files);
      props.onMade(tidy);
      props.onClose();
    }).finally(() => setBusy(false));
  return (
    <Dialog
      title="New concept" onClose={props.onClose}
      actions={<Button kind="primary" busy={busy} disabled={!tidy || busy} onClick={() => void make()}>Make it</Button>}
    >
      {props.files.length > 0 && <p>{props.files.length} pictures are waiting.</p>}
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
