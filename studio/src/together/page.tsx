import { useEffect, useState } from 'preact/hooks';

import { api } from '../api/client';
import type { ConceptFile, Options } from '../api/types';
import { EstimateNote } from '../concepts/tuning';
import { droppedFiles } from '../concepts/dropped';
import { kFuseGroups } from '../forms/groups';
import { OptionsForm } from '../forms/options';
import { without } from '../scene/json';
import { attempt, capabilities, conceptFiles, jobs, models, addJob, say, sayDeleted, tell, type Line } from '../state';
import { useStore } from '../store';
import { bytes, stem } from '../ui/format';
import { Icon } from '../ui/icons';
import { Button, Empty, IconButton, Labelled, Segments } from '../ui/kit';
import { useKept } from '../ui/kept';
import { optionsOfOthers, placeOfLora } from './asked';
import { clashesOf, entriesOf, phraseProblem, renamesFor, titleOf, type Clash } from './clashes';
import { Report } from './report';

/// Several concepts into one model, and what each of them lost.

const kOwned = ['config', 'dry_run', 'concepts', 'concept_list', 'base', 'out', 'lora', 'overwrite', 'rename', 'report', 'list_keys'];
const kOfLora = ['lora_format', 'lora_rank']; // where the result is one
const kFirst = ['method', 'weights'];

export function TogetherPage() {
  const files = useStore(conceptFiles);
  const [paths, setPaths] = useKept<string[]>('together', []);
  const [phrases, setPhrases] = useKept<Record<string, string>>('together, phrases', {});
  const chosen = paths.map((path) => files.find((file) => file.path === path)).filter((file) => file !== undefined);
  const toggle = (path: string) =>
    setPaths(paths.includes(path) ? paths.filter((other) => other !== path) : [...paths, path]);
  const drop = (event: DragEvent) => {
    event.preventDefault();
    void droppedFiles(event.dataTransfer).then(({ found, beyond }) => addFiles(found.map(({ file }) => file), beyond));
  };
  return (
    <div class="scroll" onDragOver={(event) => event.preventDefault()} onDrop={drop}>
      <div class="page-body">
        <div class="page-head">
          <div class="grow">
            <h1>Together</h1>
            <p>Choose concepts, yours or anybody’s, and fuse them into one model. Then see how much of each is left.</p>
          </div>
          <label class="button plain">
            <Icon name="upload" /> Add a concept file
            <input class="hidden-name" type="file" multiple accept=".safetensors,.pt,.pth,.bin" onChange={(event) => void addFiles([...(event.currentTarget.files ?? [])])} />
          </label>
        </div>
        {files.length === 0 ? (
          <Empty icon="together" title="No concept files yet">
            <p><a href="#/concepts">Tune a concept</a>, or drop files here: concepts, LoRA of kohya, PEFT or diffusers, embeddings.</p>
          </Empty>
        ) : (
          <div class="together">
            <Files files={files} paths={paths} onToggle={toggle} />
            <Fuse chosen={chosen} phrases={phrases} onPhrase={(path, phrase) => setPhrases({ ...phrases, [path]: phrase })} />
          </div>
        )}
        <Fusions />
      </div>
    </div>
  );
}

async function addFiles(files: File[], beyond: string[] = []) {
  const refused: Line[] = beyond.map((path) => ({ name: path, text: 'lies too deep' }));
  let added = 0;
  for (const file of files) {
    const answer = await api.putConceptFile(file.name, file).catch((error: Error) => ({ problem: error.message }));
    if (answer.problem) refused.push({ name: file.name, text: answer.problem });
    else ++added;
  }
  const summary = `${added} ${added === 1 ? 'file is' : 'files are'} here.`;
  if (refused.length > 0) tell({ title: `${summary} These have something wrong:`, lines: refused });
  else if (added > 0) say(files.length === 1 ? `${files[0]!.name} is here.` : summary);
  else say('There is no file in what was dropped.', 'error');
}

function Files(props: { files: ConceptFile[]; paths: string[]; onToggle: (path: string) => void }) {
  const [search, setSearch] = useState('');
  const found = props.files.filter((file) => `${file.path} ${file.words.join(' ')}`.toLowerCase().includes(search.toLowerCase()));
  return (
    <section class="grow stack" aria-label="Concept files">
      {props.files.length > 8 && (
        <input type="search" placeholder="Search concepts" aria-label="Search concepts" value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
      )}
      <ul class="file-grid">
        {found.map((file) => {
          const place = props.paths.indexOf(file.path);
          return <FileCard key={file.path} file={file} place={place} onToggle={() => props.onToggle(file.path)} />;
        })}
      </ul>
    </section>
  );
}

function FileCard({ file, place, onToggle }: { file: ConceptFile; place: number; onToggle: () => void }) {
  const chosen = place >= 0;
  const color = chosen ? `var(--region-${place % 8})` : undefined;
  const remove = () => attempt(async () => sayDeleted(`${stem(file.path)} is`, await api.removeConceptFile(file.path)));
  return (
    <li class={chosen ? 'file on' : 'file'} style={{ '--color': color }}>
      <button class="file-main" aria-pressed={chosen} disabled={!!file.problem} onClick={onToggle}>
        <span class="row">
          <span class="file-mark">{chosen && <Icon name="check" size={14} />}</span>
          <span class="layer-name clip" title={file.path}>{stem(file.path)}</span>
        </span>
        <span class="mono soft clip">{file.words.join(' ') || 'no words of its own'}</span>
        <span class="hint">{bytes(file.bytes)}{file.made_by && ` · ${file.made_by}`}</span>
        {file.problem && <span class="hint wrong">{file.problem}</span>}
      </button>
      <IconButton class="small" icon="trash" label={`Delete ${stem(file.path)}`} onClick={() => void remove()} />
    </li>
  );
}

function Fuse(props: { chosen: ConceptFile[]; phrases: Record<string, string>; onPhrase: (path: string, phrase: string) => void }) {
  const { chosen, phrases } = props;
  const told = useStore(capabilities);
  const list = useStore(models).filter((model) => model.kind === 'base');
  const all = useStore(jobs);
  const [values, setValues] = useKept<Options>('together, options', {});
  const [base, setBase] = useKept('together, base', '');
  const [result, setResult] = useKept<'model' | 'lora'>('together, result', 'model');
  const [estimate, setEstimate] = useState(0);
  const [refusal, setRefusal] = useState('');
  const asked = JSON.stringify([values, base, result, phrases, chosen.map((file) => file.path)]);
  useEffect(() => { // they were of another fusion
    setEstimate(0);
    setRefusal('');
  }, [asked]);
  const clashes = clashesOf(chosen);
  const current = list.find((model) => model.path === base)?.path ?? list[0]?.path ?? '';
  const lacks = chosen.length === 0 ? 'Choose concepts first.' : chosen.map((file) => phraseProblem(file, phrases[file.path])).find(Boolean) ?? '';
  const hidden = [...(result === 'lora' ? [] : kOfLora), ...optionsOfOthers(told?.methods?.fuse, values.method, told?.jobs.fuse)];
  const start = async (dryRun: boolean) => {
    setRefusal('');
    try {
      const lora = placeOfLora(chosen, conceptFiles.get(), jobs.get().values());
      const job = await api.start({
        kind: 'fuse', title: titleOf(chosen), dry_run: dryRun,
        options: {
          ...without(values, hidden), concepts: entriesOf(chosen, phrases), ...(current ? { base: current } : {}),
          ...(clashes.length > 0 ? { rename: renamesFor(chosen, clashes) } : {}),
          ...(result === 'lora' ? { lora } : {}),
        },
      });
      addJob(job);
      if (dryRun) setEstimate(job.id);
    } catch (error) {
      setRefusal(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <section class="tune-form fuse-form" aria-label="Fuse">
      <h2>{chosen.length === 0 ? 'Choose concepts' : titleOf(chosen)}</h2>
      <Clashes clashes={clashes} renames={renamesFor(chosen, clashes)} />
      {chosen.filter((file) => file.words.length === 0).map((file) => (
        <Phrase key={file.path} file={file} phrase={phrases[file.path] ?? ''} onPhrase={(phrase) => props.onPhrase(file.path, phrase)} />
      ))}
      <Labelled label="Base model">
        {(id) => (
          <select id={id} value={current} onChange={(event) => setBase(event.currentTarget.value)}>
            {list.map((model) => <option key={model.path} value={model.path}>{stem(model.path)}</option>)}
          </select>
        )}
      </Labelled>
      <Segments label="Result" value={result} choices={[{ value: 'model', label: 'A model' }, { value: 'lora', label: 'One LoRA file' }]} onChange={setResult} />
      <OptionsForm
        schema={told?.jobs.fuse} first={kFirst} owned={[...kOwned, ...hidden]}
        groups={kFuseGroups} choiceHelp={{ method: told?.methods?.help?.fuse }} values={values} onChange={setValues}
      />
      <div class="form-foot">
        {lacks && <p class="finding note"><Icon name="warning" size={16} /><span>{lacks}</span></p>}
        {refusal && <p class="finding error" role="alert"><Icon name="warning" size={16} /><span>{refusal}</span></p>}
        <EstimateNote job={all.get(estimate)} />
        <Button icon="check" disabled={!!lacks} onClick={() => void start(true)}>How long, how much memory?</Button>
        <Button kind="primary" class="large" icon="together" disabled={!!lacks} onClick={() => void start(false)}>
          Fuse {chosen.length > 1 ? chosen.length : ''}
        </Button>
      </div>
    </section>
  );
}

/// The words of a concept that has none of its own: needed, and said so before anything is asked for.
function Phrase({ file, phrase, onPhrase }: { file: ConceptFile; phrase: string; onPhrase: (phrase: string) => void }) {
  const problem = phrase.trim() ? phraseProblem(file, phrase) : '';
  return (
    <Labelled label={`How prompts call ${stem(file.path)}`} hint="needed: its trigger words, e.g. sks dog" error={problem || undefined}>
      {(id, describedBy) => (
        <input
          id={id} type="text" value={phrase} required aria-invalid={problem ? 'true' : undefined} aria-describedby={describedBy}
          onInput={(event) => onPhrase(event.currentTarget.value)}
        />
      )}
    </Labelled>
  );
}

function Clashes({ clashes, renames }: { clashes: Clash[]; renames: string[] }) {
  if (clashes.length === 0) return null;
  return (
    <div class="finding warning" role="alert">
      <Icon name="warning" size={16} />
      <span>
        {clashes.map(({ word, files }) => `${word} would mean ${files.map(stem).join(' and ')}.`).join(' ')}{' '}
        The later ones get new words: {renames.map((entry) => entry.split('=')[1]).join(', ')}.
      </span>
    </div>
  );
}

function Fusions() {
  const all = useStore(jobs);
  const fusions = [...all.values()].filter((job) => job.kind === 'fuse' && !job.dry_run).sort((a, b) => b.id - a.id);
  const [open, setOpen] = useState<number | null>(null);
  const done = fusions.filter((job) => job.state === 'done');
  const current = done.find((job) => job.id === open) ?? done[0];
  if (!current) return null;
  return (
    <section class="stack" aria-label="What each concept lost">
      <div class="row wrap section-head">
        <h1>What is left of each</h1>
        <span class="grow" />
        {done.slice(0, 8).map((job) => (
          <button key={job.id} class="chip" aria-pressed={job === current} onClick={() => setOpen(job.id)}>
            <span class="clip">{job.title}</span>
            <span class="faint">{job.id}</span>
          </button>
        ))}
      </div>
      <Report key={current.id} fusion={current} />
    </section>
  );
}
