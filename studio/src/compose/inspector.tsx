import { useState } from 'preact/hooks';

import { api, thumbnailUrl } from '../api/client';
import { addJob, attempt, ended, models } from '../state';
import { canvasSide, clampBox, cutBox, kCanvasSides, kLeastSide, newId, regionTitle, resized, type Box, type Condition, type Region, type Scene } from '../scene/model';
import { conceptIn, withConcept, type KnownConcept } from '../scene/words';
import { useStore } from '../store';
import { Icon } from '../ui/icons';
import { Button, IconButton, Labelled, Slider, Switch, Segments } from '../ui/kit';
import { taken, useTyped } from '../ui/typed';
import { edit, editRegion, endStep, history, scene, view } from './document';

/// What is selected, in words and numbers.

export function Inspector({ known }: { known: KnownConcept[] }) {
  const scene = useStore(history, (value) => value.present);
  const { selected } = useStore(view);
  const index = scene.regions.findIndex((region) => region.id === selected);
  const region = scene.regions[index];
  if (region) return <RegionForm key={region.id} region={region} index={index} scene={scene} known={known} />;
  return <SceneForm scene={scene} known={known} />;
}

function RegionForm(props: { region: Region; index: number; scene: Scene; known: KnownConcept[] }) {
  const { region, index, scene, known } = props;
  const set = (change: Partial<Region>, step = '') => editRegion(region.id, change, step);
  return (
    <div onFocusOut={endStep}>
      <section class="panel-section" style={{ '--color': `var(--region-${region.color})` }}>
        <div class="row">
          <span class="dot" />
          <input
            type="text" class="name-field" aria-label="Name of the region" value={region.name}
            placeholder={regionTitle(region, index)}
            onInput={(event) => set({ name: event.currentTarget.value }, 'name')}
          />
        </div>
        <ConceptChips
          prompt={region.prompt} known={known}
          onChange={(prompt) => set({ prompt })}
        />
        <Prompt label="Prompt" value={region.prompt} placeholder="all that the inside of this region reads" onInput={(prompt) => set({ prompt }, 'prompt')} />
        <Prompt label="Negative" value={region.negative} placeholder="what guidance leads away from, here" onInput={(negative) => set({ negative }, 'negative')} />
        <Slider
          label="Strength" hint="Below 1 this share of the region's text is mixed with what holds everywhere"
          value={region.weight} least={0.05} most={1} step={0.05} onChange={(weight) => set({ weight }, 'weight')}
        />
      </section>
      <section class="panel-section">
        {region.shape.kind === 'box' && (
          <BoxNumbers box={region.shape.box} scene={scene} onChange={(box) => set({ shape: { kind: 'box', box } }, 'box')} />
        )}
        {region.shape.kind === 'mask' && <MaskButtons region={region} />}
        <Slider
          label="Soft edge" hint="Pixels over which its edge is softened" value={region.feather} least={0}
          most={Math.max(8, Math.round(Math.min(scene.width, scene.height) / 4))} step={1}
          onChange={(feather) => set({ feather }, 'feather')}
        />
        <details>
          <summary>When it holds</summary>
          <div class="stack">
            <Slider label="From, share of the steps" value={region.start} least={0} most={1} step={0.05} onChange={(start) => set({ start }, 'start')} />
            <Slider label="Until" value={region.end} least={0} most={1} step={0.05} onChange={(end) => set({ end }, 'end')} />
          </div>
        </details>
      </section>
      <Conditions scene={scene} region={region.id} />
      <Unknown rest={region.rest} />
    </div>
  );
}

export function Prompt(props: {
  label: string;
  value: string;
  placeholder: string;
  onInput: (value: string) => void;
}) {
  return (
    <Labelled label={props.label}>
      {(id) => (
        <textarea
          id={id} rows={2} value={props.value} placeholder={props.placeholder} spellcheck={false}
          onInput={(event) => props.onInput(event.currentTarget.value)}
        />
      )}
    </Labelled>
  );
}

const kChipsShown = 12;

/// The concept whose words stand in a prompt; choosing another one exchanges the words.
function ConceptChips(props: { prompt: string; known: KnownConcept[]; onChange: (prompt: string) => void }) {
  const { prompt, known, onChange } = props;
  const [search, setSearch] = useState('');
  const current = conceptIn(prompt, known);
  if (known.length === 0) {
    return <p class="hint">No concepts yet: <a href="#/concepts">tune one</a>, or <a href="#/together">add a file</a>.</p>;
  }
  const found = known.filter((concept) => concept.name.toLowerCase().includes(search.toLowerCase()));
  const first = current && !found.slice(0, kChipsShown).includes(current) ? [current] : [];
  return (
    <div class="labelled" role="group" aria-label="Concept">
      <span class="group-label">Concept</span>
      {known.length > kChipsShown && (
        <input type="search" placeholder="Search concepts" aria-label="Search concepts" value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
      )}
      <div class="row wrap" style={{ gap: 6 }}>
        {[...first, ...found.slice(0, kChipsShown)].map((concept) => (
          <button
            key={concept.name} class="chip" aria-pressed={concept === current} title={concept.words.join(' ')}
            onClick={() => onChange(withConcept(prompt, concept === current ? undefined : concept, known))}
          >
            <span class="clip">{concept.name}</span>
          </button>
        ))}
      </div>
    </div>
  );
}

function BoxNumbers({ box, scene, onChange }: { box: Box; scene: Scene; onChange: (box: Box) => void }) {
  const moved = (left: number, top: number) => clampBox({ left, top, right: left + box.right - box.left, bottom: top + box.bottom - box.top }, scene);
  const fields: BoxField[] = [
    { label: 'Left', of: ({ left }) => left, change: (left) => moved(left, box.top) },
    { label: 'Top', of: ({ top }) => top, change: (top) => moved(box.left, top) },
    { label: 'Width', of: ({ left, right }) => right - left, change: (width) => cutBox({ ...box, right: box.left + Math.max(width, kLeastSide) }, scene) },
    { label: 'Height', of: ({ top, bottom }) => bottom - top, change: (height) => cutBox({ ...box, bottom: box.top + Math.max(height, kLeastSide) }, scene) },
  ];
  return (
    <div class="four" role="group" aria-label="Place in pixels">
      {fields.map((field) => <BoxNumber key={field.label} {...field} box={box} onChange={onChange} />)}
    </div>
  );
}

interface BoxField {
  label: string;
  of: (box: Box) => number;
  change: (typed: number) => Box;
}

const kBoxRule = `a box lies on the canvas and is ${kLeastSide} pixels or more`;

function BoxNumber({ label, of, change, box, onChange }: BoxField & { box: Box; onChange: (box: Box) => void }) {
  const shownOf = (one: Box) => Math.round(of(one) * 10) / 10;
  const take = (typed: number) => {
    const { value, reason } = taken(typed, shownOf(box), {});
    const next = reason ? value : shownOf(change(value));
    return { value: next, reason: reason || (Math.abs(next - value) < 0.1 ? '' : kBoxRule) };
  };
  const { field, refusal } = useTyped(label, shownOf(box), take, (value) => onChange(change(value)));
  return (
    <>
      <Labelled label={label}>{(id) => <input id={id} step={8} {...field} />}</Labelled>
      {refusal && <p class="hint wrong">{label}: {refusal}</p>}
    </>
  );
}

function MaskButtons({ region }: { region: Region }) {
  const { shape } = region;
  if (shape.kind !== 'mask') return null;
  const set = (change: Partial<typeof shape>) => editRegion(region.id, { shape: { ...shape, ...change } });
  const load = async (file: File | undefined) => {
    if (!file) return;
    const stored = await attempt(() => api.upload(file.name, file));
    if (stored) set({ file: stored.path, strokes: [] });
  };
  return (
    <div class="row wrap">
      <Button class="small" icon="close" disabled={!shape.file && shape.strokes.length === 0} onClick={() => set({ file: '', strokes: [] })}>Clear</Button>
      <label class="button plain small">
        <Icon name="upload" /> Mask from a file
        <input class="hidden-name" type="file" accept="image/png,image/jpeg,image/webp" onChange={(event) => void load(event.currentTarget.files?.[0])} />
      </label>
      <span class="hint">Paint with the brush (M); white is the region.</span>
    </div>
  );
}

function SceneForm({ scene, known }: { scene: Scene; known: KnownConcept[] }) {
  const set = (change: Partial<Scene>, step = '') => edit((old) => ({ ...old, ...change }), step);
  return (
    <div onFocusOut={endStep}>
      <section class="panel-section">
        <h2>Everywhere</h2>
        <Prompt label="Prompt" value={scene.prompt} placeholder="what holds outside the regions, e.g. a meadow" onInput={(prompt) => set({ prompt }, 'prompt')} />
        <Prompt label="Negative" value={scene.negative} placeholder="what guidance leads away from" onInput={(negative) => set({ negative }, 'negative')} />
        {scene.regions.length === 0 && <ConceptChips prompt={scene.prompt} known={known} onChange={(prompt) => set({ prompt })} />}
        <details open={!!scene.rootPrompt || !!scene.rootNegative}>
          <summary>Root prompt, read before every region's</summary>
          <div class="stack">
            <Prompt label="Root prompt" value={scene.rootPrompt} placeholder="e.g. oil painting, soft light" onInput={(rootPrompt) => set({ rootPrompt }, 'rootPrompt')} />
            <Prompt label="Root negative" value={scene.rootNegative} placeholder="for every region, too" onInput={(rootNegative) => set({ rootNegative }, 'rootNegative')} />
          </div>
        </details>
      </section>
      <section class="panel-section">
        <CanvasSize scene={scene} />
        <details open={scene.overlap !== 'mean' || scene.baseRatio > 0 || scene.isolate}>
          <summary>How regions meet</summary>
          <div class="stack">
            <div class="labelled">
              <span class="group-label">Where they overlap</span>
              <Segments
                label="Where they overlap" value={scene.overlap}
                choices={[{ value: 'mean', label: 'The mean' }, { value: 'front', label: 'The front one' }]}
                onChange={(overlap) => set({ overlap })}
              />
            </div>
            <Slider label="Of “Everywhere” inside regions" hint="This share of the context's attention stays inside every region" value={scene.baseRatio} least={0} most={1} step={0.05} onChange={(baseRatio) => set({ baseRatio }, 'baseRatio')} />
            <Switch label="Regions do not see each other" checked={scene.isolate} onChange={(isolate) => set({ isolate })} />
          </div>
        </details>
      </section>
      <Conditions scene={scene} region="" />
      <Unknown rest={scene.rest} />
    </div>
  );
}

const kShapes: { label: string; ratio: [number, number] }[] = [
  { label: '1:1', ratio: [1, 1] }, { label: '3:2', ratio: [3, 2] }, { label: '2:1', ratio: [2, 1] },
  { label: '3:1', ratio: [3, 1] }, { label: '2:3', ratio: [2, 3] },
];

function CanvasSize({ scene }: { scene: Scene }) {
  const resize = (width: number, height: number) => edit((old) => resized(old, canvasSide(width), canvasSide(height)));
  const short = Math.min(scene.width, scene.height);
  return (
    <div class="stack" role="group" aria-label="Canvas">
      <div class="four two">
        <CanvasSide label="Canvas width" value={scene.width} onChange={(width) => resize(width, scene.height)} />
        <CanvasSide label="Height" value={scene.height} onChange={(height) => resize(scene.width, height)} />
      </div>
      <div class="row wrap" style={{ gap: 6 }}>
        {kShapes.map(({ label, ratio: [x, y] }) => (
          <button
            key={label} class="chip" aria-pressed={scene.width * y === scene.height * x} aria-label={`Canvas ${label}`}
            onClick={() => resize((short * x) / Math.min(x, y), (short * y) / Math.min(x, y))}
          >
            {label}
          </button>
        ))}
      </div>
    </div>
  );
}

function CanvasSide({ label, value, onChange }: { label: string; value: number; onChange: (value: number) => void }) {
  const { step, least, most } = kCanvasSides;
  const take = (typed: number) => {
    const { value: number, reason } = taken(typed, value, {});
    const side = canvasSide(number);
    return { value: side, reason: reason || (side === number ? '' : `sides are multiples of ${step}, from ${least} to ${most}`) };
  };
  const { field, refusal } = useTyped(label, value, take, onChange);
  return (
    <>
      <Labelled label={label}>{(id) => <input id={id} step={step} min={least} max={most} {...field} />}</Labelled>
      {refusal && <p class="hint wrong">{refusal}</p>}
    </>
  );
}

/// Pictures that say where things are: of one region inside its bounds, or of the whole canvas.
function Conditions({ scene, region }: { scene: Scene; region: string }) {
  const own = scene.conditions.filter((condition) => condition.region === region);
  const change = (id: string, next: Partial<Condition>, step = '') =>
    edit(
      (old) => ({
        ...old,
        conditions: old.conditions.map((one) => (one.id === id ? { ...one, ...next } : one)),
      }),
      step && `${step} of ${id}`,
    );
  const add = () => {
    const condition: Condition = {
      id: newId(), adapter: '', picture: '', weight: 1, region, start: 0, end: 1, guess: false, rest: {},
    };
    edit((old) => ({ ...old, conditions: [...old.conditions, condition] }));
  };
  const remove = (id: string) =>
    edit((old) => ({ ...old, conditions: old.conditions.filter((one) => one.id !== id) }));
  return (
    <section class="panel-section" aria-label="Condition pictures">
      {own.map((condition) => (
        <ConditionForm
          key={condition.id} condition={condition} onRemove={() => remove(condition.id)}
          onChange={(next, step) => change(condition.id, next, step)}
        />
      ))}
      <Button kind="quiet" class="small start" icon="plus" onClick={add}>
        {region ? 'A condition picture for this region' : 'A condition picture'}
      </Button>
    </section>
  );
}

function ConditionForm(props: {
  condition: Condition;
  onChange: (next: Partial<Condition>, step?: string) => void;
  onRemove: () => void;
}) {
  const { condition, onChange } = props;
  const adapters = useStore(models).filter((model) => model.kind === 'adapter');
  const load = async (file: File | undefined) => {
    if (!file) return;
    const stored = await attempt(() => api.upload(file.name, file));
    if (stored) onChange({ picture: stored.path });
  };
  return (
    <div class="condition">
      <label class="condition-picture" title="Choose a picture">
        {condition.picture ? <img src={thumbnailUrl(condition.picture)} alt="Condition picture" /> : <Icon name="upload" />}
        <input class="hidden-name" type="file" accept="image/*" aria-label="Condition picture" onChange={(event) => void load(event.currentTarget.files?.[0])} />
      </label>
      <div class="grow stack" style={{ gap: 8 }}>
        <div class="row">
          <input
            type="text" aria-label="Adapter: T2I-Adapter or ControlNet" placeholder="adapter, e.g. models/keypose" list="adapters"
            value={condition.adapter} onInput={(event) => onChange({ adapter: event.currentTarget.value }, 'adapter')}
          />
          <IconButton icon="trash" label="Remove the condition" onClick={props.onRemove} />
        </div>
        <datalist id="adapters">{adapters.map((model) => <option key={model.path} value={model.path} />)}</datalist>
        <Slider label="Weight" value={condition.weight} least={0} most={2} step={0.05} onChange={(weight) => onChange({ weight }, 'weight')} />
        {condition.picture && <Button class="small" onClick={() => void attempt(() => makeEdges(condition))}>Make edges of it</Button>}
      </div>
    </div>
  );
}

/// Puts the edges of a condition's picture in its place, once they are there; not where that has got another
/// one, or went, in the meantime.
async function makeEdges({ id, picture }: Condition) {
  const job = await api.start({ kind: 'condition', words: [picture], title: 'Edges of a photo' });
  addJob(job);
  const made = (await ended(job.id))?.results.find((path) => path.endsWith('.png'));
  const isMeant = (one: Condition) => one.id === id && one.picture === picture;
  if (!made || !scene().conditions.some(isMeant)) return;
  edit((old) => ({ ...old, conditions: old.conditions.map((one) => (isMeant(one) ? { ...one, picture: made } : one)) }));
}

/// Keys of a file that this page has no field for: kept, and said.
function Unknown({ rest }: { rest: Record<string, unknown> }) {
  const keys = Object.keys(rest);
  if (keys.length === 0) return null;
  return (
    <p class="panel-section hint">
      Also in the file, and kept as it is: {keys.join(', ')}.
    </p>
  );
}
