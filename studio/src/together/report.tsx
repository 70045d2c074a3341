import { useEffect, useState } from 'preact/hooks';

import { api, fileUrl, thumbnailUrl } from '../api/client';
import type { Job } from '../api/types';
import { ProgressBar, StateTag } from '../queue/dock';
import { attempt, conceptFiles, jobs, models, addJob, paintingDefaults } from '../state';
import { useStore } from '../store';
import { percent } from '../ui/format';
import { Icon } from '../ui/icons';
import { Button, Dialog } from '../ui/kit';
import { factsOf, kept, taken, type FusionFacts } from './fit';
import { Takes } from './takes';
import { evaluateRequest, fusedModel, jobFor, kWays, membersOf, paintedTitle, paintRequests, sideOf, titleFor, type Member, type Way } from './identity';

/// How much of each concept a fusion kept: by its layers, and by pictures side by side.

const kStageTitles: Record<string, string> = {
  text_encoder: 'Text encoder', cross_attention: 'Cross-attention', unet: 'Other layers',
};

export function Report({ fusion }: { fusion: Job }) {
  const [facts, setFacts] = useState<FusionFacts | null>(null);
  const files = useStore(conceptFiles);
  const all = useStore(jobs);
  const members = membersOf(fusion, (path) => files.find((file) => file.path === path)?.words ?? [], all);
  useEffect(() => void attempt(async () => setFacts(factsOf(await api.report(fusion.id)))), [fusion.id]);
  return (
    <>
      {facts && facts.stages.length > 0 && <Layers facts={facts} />}
      {facts && <Takes facts={facts} titles={kStageTitles} />}
      <Pictures fusion={fusion} members={members} />
    </>
  );
}

/// Layers are told as they were merged one by one.
function distilled(facts: FusionFacts, name: string): string {
  const distance = facts.distilled[name];
  if (!distance) return '';
  return `, before distillation, which left ${percent(distance.after / distance.before)} of the distance to its own model`;
}

function Layers({ facts }: { facts: FusionFacts }) {
  return (
    <div class="fits">
      {facts.concepts.filter((name) => facts.total[name]).map((name, index) => (
        <article key={name} class="fit" style={{ '--color': `var(--region-${index % 8})` }}>
          <header>
            <span class="dot" />
            <h2 class="clip">{name}</h2>
            <b class="fit-kept">{percent(kept(facts.total[name]!))}</b>
          </header>
          <p class="hint">of its own change is kept, by what its layers put out{distilled(facts, name)}</p>
          <dl>
            {facts.stages.filter((stage) => facts.byStage[stage]?.[name]).map((stage) => {
              const fit = facts.byStage[stage]![name]!;
              return (
                <div key={stage}>
                  <dt>{kStageTitles[stage] ?? stage}</dt>
                  <dd title={`kept ${percent(kept(fit))}, ${percent(taken(fit))} comes in from the others`}>
                    <span class="fit-bar"><i style={{ width: `${kept(fit) * 100}%` }} /></span>
                    <span class="mono">{percent(kept(fit))}</span>
                    <span class="mono soft" aria-label="cross-talk">↙ {percent(taken(fit))}</span>
                  </dd>
                </div>
              );
            })}
          </dl>
        </article>
      ))}
      <p class="hint fits-note">↙ is cross-talk: what the other concepts’ parts add where only this one is called, beside its own change. Fused by {facts.method}.</p>
    </div>
  );
}


function Pictures({ fusion, members }: { fusion: Job; members: Member[] }) {
  const all = useStore(jobs);
  const list = useStore(models);
  const [busy, setBusy] = useState(false);
  const painted = (name: string, way: Way) =>
    jobFor(all, paintedTitle(fusion.id, name, way));
  const begun = members.some((member) => painted(member.name, 'fused'));
  useEvaluations(fusion, members, all);
  const { base } = fusedModel(fusion);
  if (!base) return <p class="soft">What this fusion wrote is not in the studio’s folder any more.</p>;
  const side = sideOf(fusion, list);
  const make = () =>
    attempt(async () => {
      setBusy(true);
      for (const request of paintRequests(fusion, members, side, paintingDefaults(base))) addJob(await api.start(request));
    }).finally(() => setBusy(false));
  if (!begun) {
    return (
      <div class="not-yet">
        <Icon name="compare" size={28} />
        <p class="soft">Paint each concept alone, in the fused model, and in its region beside the others, from the same seeds, and measure them against their own pictures.</p>
        <Button kind="primary" icon="play" busy={busy} onClick={() => void make()}>Make the identity report</Button>
        <span class="hint">{members.length * 2 + 1} jobs of four pictures go into the queue</span>
      </div>
    );
  }
  return (
    <div class="identity-scroll">
      <table class="identity">
        <thead>
          <tr><th scope="col">Concept</th>{kWays.map(({ way, title }) => <th key={way} scope="col">{title}</th>)}</tr>
        </thead>
        <tbody>
          {members.map((member, index) => (
            <tr key={member.path}>
              <th scope="row" style={{ '--color': `var(--region-${index % 8})` }}>
                <span class="row"><span class="dot" />{member.name}</span>
                {(['fused', 'region'] as const).map((way) => (
                  <Loss key={way} way={way} alone={figure(all, fusion.id, member, 'alone')} then={figure(all, fusion.id, member, way)} />
                ))}
              </th>
              {kWays.map(({ way }) => (
                <td key={way}>
                  <Cell job={painted(member.name, way)} region={way === 'region' ? { index, count: members.length } : undefined} />
                  <Figure job={figureJob(all, fusion.id, member, way)} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/// Starts the evaluation of pictures once they are there, of concepts whose own pictures are here.
function useEvaluations(fusion: Job, members: Member[], all: ReadonlyMap<number, Job>) {
  const [asked] = useState(new Set<string>());
  const [here, setHere] = useState<Set<string> | null>(null);
  useEffect(() => void attempt(async () => setHere(new Set((await api.concepts()).map(({ name }) => name)))), []);
  useEffect(() => {
    for (const [index, member] of members.entries()) {
      for (const { way } of kWays) {
        const painted = jobFor(all, paintedTitle(fusion.id, member.name, way));
        const place = { index, count: members.length };
        const request = painted && evaluateRequest(fusion, member, way, painted, place);
        if (!request || !here?.has(member.concept) || painted.state !== 'done' || painted.results.length === 0) continue;
        if (asked.has(request.title!) || jobFor(all, request.title!)) continue;
        asked.add(request.title!);
        void attempt(async () => addJob(await api.start(request)));
      }
    }
  }, [all, fusion.id, here]);
}

function figureJob(all: ReadonlyMap<number, Job>, fusion: number, member: Member, way: Way) {
  return jobFor(all, titleFor(fusion, member.name, `figures ${way}`));
}

const kFigures = new Map<number, number>();

/// The image alignment that an evaluation found; undefined until it is known.
function figure(all: ReadonlyMap<number, Job>, fusion: number, member: Member, way: Way) {
  const job = figureJob(all, fusion, member, way);
  return job && kFigures.get(job.id);
}

function Figure({ job }: { job: Job | undefined }) {
  const [value, setValue] = useState<number | undefined>(job && kFigures.get(job.id));
  useEffect(() => {
    if (job?.state !== 'done' || value !== undefined) return;
    void attempt(async () => {
      const report = await api.report(job.id);
      const found = Number(report.image_alignment);
      if (!Number.isFinite(found)) return;
      kFigures.set(job.id, found);
      setValue(found);
      jobs.set((old) => new Map(old)); // whoever compares figures looks again
    });
  }, [job?.id, job?.state]);
  if (!job) return null;
  if (job.error) return <p class="hint wrong">{job.error.message}</p>;
  if (value === undefined) return <p class="hint">measuring…</p>;
  return <p class="figure" title="Image alignment: the mean cosine with the concept’s own pictures">{value.toFixed(3)} <span class="hint">like its own pictures</span></p>;
}

function Loss({ way, alone, then }: { way: 'fused' | 'region'; alone: number | undefined; then: number | undefined }) {
  if (alone === undefined || then === undefined || alone <= 0) return null;
  const change = then / alone - 1;
  const kind = change < -0.1 ? 'wrong' : change < -0.03 ? 'warning' : 'good';
  const sign = Math.abs(change) < 0.005 ? '±' : change > 0 ? '+' : '−';
  return <span class={`tag ${kind}`}>{sign}{percent(Math.abs(change))} {way === 'fused' ? 'fused' : 'in its region'}</span>;
}

const kCellPictures = 4;

function Cell({ job, region }: { job: Job | undefined; region?: { index: number; count: number } | undefined }) {
  const [open, setOpen] = useState('');
  if (!job) return <span class="faint">not painted</span>;
  if (job.error) return <p class="hint wrong">{job.error.message}</p>;
  const pictures = job.results.filter((path) => path.endsWith('.png')).slice(0, kCellPictures);
  if (pictures.length === 0) {
    return <div class="stack" style={{ gap: 6 }}><StateTag job={job} />{job.state === 'running' && <ProgressBar job={job} />}</div>;
  }
  const at = region && region.count > 1 ? (region.index / (region.count - 1)) * 100 : 50;
  return (
    <div class="cell-pictures">
      {pictures.map((path) => (
        <button key={path} class="cell-picture" aria-label={`Look at ${path}`} onClick={() => setOpen(path)}>
          <img src={thumbnailUrl(path)} alt="" loading="lazy" style={region ? { objectPosition: `${at}% 50%` } : {}} />
        </button>
      ))}
      {open && <Dialog title={job.title} wide onClose={() => setOpen('')}><img src={fileUrl(open)} alt="" style={{ width: '100%' }} /></Dialog>}
    </div>
  );
}
